"""The learning curves of the learner's gradient forms."""

from dataclasses import replace

import numpy as np
import pytest

from optioncoagent.experiments import learner_forms


def test_curves_of_a_short_run():
    setting = replace(learner_forms.SETTINGS[0], env_id="MiniGrid-Empty-5x5-v0", num_options=2, total_timesteps=3000)
    rows = [row for seed in (0, 1) for row in learner_forms.run(setting, seed)]
    assert {(row.form, row.seed) for row in rows} == {(form, seed) for form in learner_forms.FORMS for seed in (0, 1)}
    first = {row.form: row.return_mean for row in rows if row.seed == 0 and row.timesteps == rows[0].timesteps}
    assert len(set(first.values())) == 1  # the same seed: the forms differ from the first update on
    (axes,) = learner_forms.plot(rows).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines) == list(learner_forms.FORMS)
    last = [row.return_mean for row in rows if row.form == "score" and row.timesteps == rows[-1].timesteps]
    assert lines["score"].get_ydata()[-1] == pytest.approx(np.mean(last))
