"""Whether one version is worse than another: a test that may be looked at as often as one likes.

The method is the sequential two-sample test for Bernoulli streams of Turner, Ly and Grünwald ("Generic E-variables for
exact sequential k-sample tests that allow for optional stopping").  Each look is a block of answers of both versions.
Its e-variable for an alternative (p of the version that serves, q > p of the one that is tried) is how much likelier
the block is so than if both had the block's own mean of p and q; over looks they are multiplied, and alternatives are
mixed with equal weights.  As long as the new version is no worse, whatever either's share of bad answers is and however
it changes, that mixture reaches 1/alpha with a probability of at most alpha, over all looks together (Ville).
docs/evidence.md has the proof, and what it takes for granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, log1p

_SHARES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_FACTORS = (1.5, 3.0, 10.0)


def _alternatives() -> tuple[tuple[float, float], ...]:
    """Each share of bad answers, and a worse one: by factors of the odds."""
    odds = ((share, factor * share / (1 - share)) for share in _SHARES for factor in _FACTORS)
    return tuple((share, worse / (1 + worse)) for share, worse in odds)


ALTERNATIVES = _alternatives()
"""(share of bad answers of the version that serves, that of the one that is tried); equally likely before any look."""
NO_EVIDENCE = (0.0,) * len(ALTERNATIVES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """How many answers there were since the look before, and how many of them were bad."""

    canary: int
    canary_bad: int
    primary: int
    primary_bad: int


def gathered(before: tuple[float, ...], block: Block) -> tuple[float, ...]:
    """The logarithm of each alternative's evidence once a block was seen; a block of one version alone says nothing."""
    if not (block.canary and block.primary):
        return before
    return tuple(
        had + _log_e(block, share, worse) for had, (share, worse) in zip(before, ALTERNATIVES, strict=True)
    )


def log_evidence(gathered_so_far: tuple[float, ...]) -> float:
    """The logarithm of the mixture of all alternatives."""
    most = max(gathered_so_far)
    return most + log(sum(exp(one - most) for one in gathered_so_far) / len(gathered_so_far))


def is_worse(gathered_so_far: tuple[float, ...], alpha: float) -> bool:
    """Whether there is as much evidence as a version that is no worse ever shows with a probability of `alpha` at most."""
    return log_evidence(gathered_so_far) >= -log(alpha)


def _log_e(block: Block, share: float, worse: float) -> float:
    mean = (block.canary * worse + block.primary * share) / (block.canary + block.primary)
    return _log_ratio(block.canary, block.canary_bad, worse, mean) + _log_ratio(
        block.primary, block.primary_bad, share, mean
    )


def _log_ratio(answers: int, bad: int, share: float, other: float) -> float:
    """How much likelier so many bad answers are at one share of them than at another."""
    return bad * log(share / other) + (answers - bad) * (log1p(-share) - log1p(-other))
