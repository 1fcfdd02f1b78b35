"""A grid of arms as one arm: its hyperparameter is chosen on validation, never on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from mtlface.analysis import statistics as st
from mtlface.analysis.protocol import Arm
from mtlface.errors import MtlfaceError, did_you_mean

References = Mapping[str, Mapping[str, Arm]]
Score = Literal["Δm", "mean rank"]


@dataclass(frozen=True)
class Candidate:
    """An arm of the grid.

    Attributes:
        score: Validation Δm in percent (higher is better) or mean rank (lower is better); None
            where the arm is left out of the choice.
        parts: Each task's part of it: benefit in percent, or rank.
        left_out: Why the arm cannot be chosen; empty where it can.
    """

    arm: Arm
    score: float | None
    parts: Mapping[str, float]
    left_out: str = ""


@dataclass(frozen=True)
class Tuning:
    """What was chosen out of what.

    Attributes:
        name: What was tuned, such as `tuned fixed weights`.
        score: What decided on validation.
        seeds: The seeds that it was averaged over: all candidates have them.
        candidates: In the order of the report.
        chosen: The chosen arm under the name that the report gives it.
        source: The chosen arm's own name.
        hidden: Arms that the report leaves out, because `chosen` stands for them.
        tied: Other arms with the same score.
    """

    name: str
    score: Score
    seeds: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    chosen: Arm
    source: str
    hidden: frozenset[str]
    tied: tuple[str, ...]

    @property
    def best(self) -> float:
        """The chosen arm's score."""
        return next(
            c.score for c in self.candidates if c.arm.label == self.source and c.score is not None
        )


def tune(
    name: str,
    pattern: str,
    arms: Sequence[Arm],
    references: References,
    higher: Mapping[str, bool],
) -> Tuning:
    """Chooses the best arm of a grid by its mean validation score over seeds.

    The score is Δm of the validation metrics to the single-task arms, as the report gives it for
    the test, or the mean rank among the candidates where single-task arms are lacking. Candidates
    are measured on the same seeds; one that failed, or whose validation metrics are not finite
    numbers, is left out.

    Args:
        name: What is tuned; an underscore reads as a space.
        pattern: Shell patterns with `|` between. Each must match whole names of arms or single
            changes in them (`tasks.landmarks.weight=*`). An arm matched without a wildcard is a
            candidate that keeps its own row.
        arms: Every arm of the comparison.
        references: Arm → task → single-task arm.
        higher: `<task>/<primary metric>` → whether higher is better.

    Raises:
        MtlfaceError: A pattern matches no arm, a single-task arm, a reference or arms of different
            tasks, or no candidate can be chosen.
    """
    key = f"tuned.{name}={pattern}"
    matched, kept = _match(key, pattern, arms)
    _check(key, matched, references)
    tasks = next((list(arm.tasks) for arm in matched if arm.runs), [])
    metrics = {k: v for k, v in higher.items() if k.split("/")[0] in tasks}
    left_out = {arm.label: reason for arm in matched if (reason := _reason(arm, metrics))}
    usable = [arm for arm in matched if arm.label not in left_out]
    seeds = sorted(set.intersection(*(set(arm.seeds) for arm in usable))) if usable else []
    if not seeds or not metrics:
        why = "; ".join(f"{label}: {reason}" for label, reason in left_out.items())
        raise MtlfaceError(
            f"{key}: no arm can be chosen, expected at least one finite validation metric for "
            f"seeds that all candidates have. {why or 'The candidates share no seed'}. Start the "
            "sweep again to fill the gaps, or narrow the pattern."
        )
    found = _delta_m(usable, seeds, references, metrics)
    score: Score = "Δm" if found else "mean rank"
    used, parts = found or (seeds, _ranks(usable, seeds, metrics))
    scores = {label: float(np.mean(list(values.values()))) for label, values in parts.items()}
    best = max(scores.values()) if score == "Δm" else min(scores.values())
    first, *tied = [label for label, value in scores.items() if np.isclose(value, best, 1e-9)]
    source = next(arm for arm in usable if arm.label == first)
    title = f"tuned {name.replace('_', ' ')}"
    return Tuning(
        name=title,
        score=score,
        seeds=tuple(used),
        candidates=tuple(
            Candidate(
                arm, scores.get(arm.label), parts.get(arm.label, {}), left_out.get(arm.label, "")
            )
            for arm in matched
        ),
        chosen=replace(source, label=f"{title} ({source.changes.strip(',') or source.name})"),
        source=first,
        hidden=frozenset(arm.label for arm in matched) - kept,
        tied=tuple(tied),
    )


def with_tuned(arms: Sequence[Arm], tunings: Sequence[Tuning]) -> list[Arm]:
    """The arms that the report shows: grids are replaced by what was chosen of them."""
    hidden = {label for tuning in tunings for label in tuning.hidden}
    shown = [arm for arm in arms if arm.label not in hidden]
    chosen = [tuning.chosen for tuning in tunings]
    # Beside the other arms of their tasks, before arms without a finished run.
    return sorted([*shown, *chosen], key=lambda arm: (not arm.runs, len(arm.tasks)))


def _match(key: str, pattern: str, arms: Sequence[Arm]) -> tuple[list[Arm], frozenset[str]]:
    found: set[str] = set()
    kept: set[str] = set()
    texts = _texts(arms)
    for part in filter(None, (part.strip() for part in pattern.split("|"))):
        labels = {
            arm.label
            for arm in arms
            if any(fnmatchcase(text, part) or text == part for text in texts[arm.label])
        }
        if not labels:
            known = [text for of_arm in texts.values() for text in of_arm]
            some = ", ".join(arm.label for arm in arms[:6]) + ("…" if len(arms) > 6 else "")
            raise MtlfaceError(
                f"{key}: {part} matches no arm. Expected a pattern of whole names of arms or of "
                f"single changes in them; the arms are {some}.{did_you_mean(part, known)}"
            )
        if not set("*?") & set(part):
            kept |= labels
        elif several := {arm.label for arm in arms if arm.label in labels and len(arm.tasks) > 1}:
            labels = several  # an arm's twins have its changes in their names, too
        found |= labels
    if not found:
        raise MtlfaceError(
            f"{key}: the pattern is empty; expected for example "
            "'tuned.fixed_weights=tasks.landmarks.weight=*'."
        )
    return [arm for arm in arms if arm.label in found], frozenset(kept)


def _texts(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """By arm, what a pattern can match: its names, its changes, its name without common changes."""
    changes = {arm.label: arm.name.split(",")[1:] for arm in arms}
    common = set.intersection(*(set(of_arm) for of_arm in changes.values())) if arms else set()
    return {
        arm.label: [
            arm.label,
            arm.name,
            *changes[arm.label],
            ",".join(part for part in arm.name.split(",") if part not in common),
        ]
        for arm in arms
    }


def _check(key: str, matched: Sequence[Arm], references: References) -> None:
    measures = {arm.label for of_arm in references.values() for arm in of_arm.values()}
    tasks: dict[tuple[str, ...], str] = {}
    for arm in matched:
        if len(arm.tasks) == 1 or arm.label in measures:
            raise MtlfaceError(
                f"{key} matches {arm.label}, a single-task arm or reference: candidates are "
                "measured against it, so it cannot be one. Narrow the pattern to multi-task arms."
            )
        if arm.runs:
            tasks.setdefault(tuple(sorted(arm.tasks)), arm.label)
    if len(tasks) > 1:
        each = "; ".join(f"{label} has {', '.join(names)}" for names, label in tasks.items())
        raise MtlfaceError(
            f"{key} matches arms of different tasks, and one score cannot choose between them: "
            f"{each}. Narrow the pattern to arms of the same tasks."
        )


def _reason(arm: Arm, metrics: Mapping[str, bool]) -> str:
    if failed := sorted(
        u.seed for u in arm.unfinished if u.error and u.seed is not None and u.seed not in arm.runs
    ):
        return f"it failed with seed {', '.join(map(str, failed))}"
    if not arm.runs:
        return "it has no finished run"
    for metric in metrics:
        absent = sorted(set(arm.seeds) - set(arm.values(f"val/{metric}")))
        if absent:
            seeds = ", ".join(map(str, absent))
            return f"val/{metric} is no finite number for seed {seeds}"
    return ""


def _delta_m(
    arms: Sequence[Arm], seeds: Sequence[int], references: References, metrics: Mapping[str, bool]
) -> tuple[list[int], dict[str, dict[str, float]]] | None:
    """The seeds used and each arm's benefit by task; None where a task has no reference."""
    pairs = {}
    for arm in arms:
        for metric in metrics:
            reference = references.get(arm.label, {}).get(metric.split("/")[0])
            if reference is None:
                return None
            values = arm.values(f"val/{metric}"), reference.values(f"val/{metric}")
            pairs[arm.label, metric] = values
    shared = sorted(set(seeds).intersection(*(theirs for _, theirs in pairs.values())))
    if not shared:
        return None
    parts: dict[str, dict[str, float]] = {arm.label: {} for arm in arms}
    for (label, metric), (ours, theirs) in pairs.items():
        differences = [ours[s] - theirs[s] for s in shared]
        benefit = st.relative_benefit(differences, [theirs[s] for s in shared], metrics[metric])
        if benefit is None:
            return None
        parts[label][metric.split("/")[0]] = float(np.mean(benefit))
    return shared, parts


def _ranks(
    arms: Sequence[Arm], seeds: Sequence[int], metrics: Mapping[str, bool]
) -> dict[str, dict[str, float]]:
    parts: dict[str, dict[str, float]] = {arm.label: {} for arm in arms}
    for metric, good in metrics.items():
        means = {
            arm.label: {metric: float(np.mean([arm.values(f"val/{metric}")[s] for s in seeds]))}
            for arm in arms
        }
        for label, rank in st.mean_ranks(means, {metric: good}).items():
            parts[label][metric.split("/")[0]] = rank
    return parts
