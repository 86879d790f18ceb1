"""A progress bar of environment steps, which ends no training where nobody reads it any more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from tqdm import tqdm


class Bar:
    """tqdm's bar of `total` steps, which stays silent once it cannot be written."""

    def __init__(self, total: int, shown: bool):
        self.bar: tqdm[Any] = tqdm(disable=True)
        with suppress(BrokenPipeError):
            self.bar = tqdm(total=total, disable=not shown, unit="step", unit_scale=True)

    def __call__(self, steps: int, numbers: Mapping[str, float]) -> None:
        """So many steps are done; numbers that are NaN are not shown."""
        self.bar.set_postfix({name: f"{value:.2f}" for name, value in numbers.items() if value == value}, refresh=False)
        try:
            self.bar.update(steps - self.bar.n)
        except BrokenPipeError:
            self.bar.disable = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.bar.close()
