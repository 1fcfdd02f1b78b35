"""TensorBoard's event file of a run, one from its start to its end."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class EventLog(TensorBoardLogger):
    """Lightning's logger, whose file stays open when the fit is over and the test begins.

    Lightning closes it after the fit, so that what follows would go to a second file. TensorBoard
    reads the files of a second in the order of their names, which for the tenth and the ninth
    writer of a process is not the order of time, and would take the second for a run's restart.
    """

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is not on the disk yet; called by Lightning."""
        self.save()
        if self._experiment is not None:
            self.experiment.flush()

    @rank_zero_only
    def close(self) -> None:
        """Ends the file and its thread."""
        if self._experiment is not None:
            self.experiment.close()
