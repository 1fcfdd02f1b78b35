"""What a comparison holds, as numbers: summaries, differences, Δm, ranks, cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mtlface.analysis import statistics as st
from mtlface.analysis.cost import Cost, CostAgainstSingle
from mtlface.analysis.protocol import Arm
from mtlface.analysis.tuning import Tuning

SINGLE = "single-task networks"  # as one contestant of the ranks
MANY = 16  # verdicts that fit a screen


@dataclass(frozen=True)
class Metric:
    """A test metric of a task (or across tasks: its task is then none of the arms' tasks)."""

    task: str
    name: str
    higher_is_better: bool | None
    primary: bool

    @property
    def key(self) -> str:
        """Its key in `result.json`."""
        return f"test/{self.task}/{self.name}"


@dataclass(frozen=True)
class Summary:
    """A metric of an arm over its seeds; `sd` is None for a single seed."""

    n: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Difference:
    """An arm against its single-task reference in one metric.

    Attributes:
        pairs: The statistics over paired seeds, in the metric's unit.
        pictures: For one seed: the statistics over test pictures, in the unit of the per-picture
            error (lower is better); None otherwise or where the runs kept no errors.
        benefit: Relative difference in percent of the reference, higher is better, by seed.
        p: Over seeds, or over pictures for one seed.
        p_holm: Corrected over the arm's tasks; only for primary metrics.
    """

    arm: str
    reference: str
    metric: Metric
    seeds: tuple[int, ...]
    pairs: st.Paired
    pictures: st.Paired | None
    benefit: tuple[float, ...] | None
    p: float | None
    p_holm: float | None = None
    verdict: st.Verdict = "no verdict"
    seeds_needed: int | None = None

    @property
    def sign(self) -> float:
        """+1 where a positive difference is good."""
        return 1.0 if self.metric.higher_is_better else -1.0


@dataclass(frozen=True)
class Overall:
    """An arm over all tasks that have a reference; percent, higher is better."""

    arm: str
    contributions: Mapping[str, float]
    without_reference: tuple[str, ...]
    delta_m: st.Paired
    median: float


@dataclass
class Comparison:
    """Everything that the report says, as numbers."""

    data: Mapping[str, object]
    arms: list[Arm]
    metrics: list[Metric]
    summaries: dict[tuple[str, str], Summary]
    trivial: dict[str, float]
    differences: list[Difference] = field(default_factory=list)
    overall: list[Overall] = field(default_factory=list)
    ranks: dict[str, float] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    costs_against_single: list[CostAgainstSingle] = field(default_factory=list)
    tunings: list[Tuning] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_demo(self) -> bool:
        """Whether the pictures are rendered, so that no published figure is comparable."""
        return self.data.get("root_kind") == "demo"

    @property
    def primaries(self) -> list[Metric]:
        """The primary metric of every task."""
        return [metric for metric in self.metrics if metric.primary]

    @property
    def verdicts(self) -> list[Difference]:
        """The differences that the verdicts speak of: primary metrics only."""
        return [d for d in self.differences if d.metric.primary]

    @property
    def has_many_verdicts(self) -> bool:
        """Whether they are too many to read one by one."""
        return len(self.verdicts) > MANY
