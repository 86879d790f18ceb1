"""Rows to metrics.csv."""

from contextlib import closing

import pytest

from optioncoagent.runs.rows import Rows, read_rows


def test_a_run_that_a_later_version_goes_on_with_keeps_its_columns(tmp_path):
    with closing(Rows(tmp_path)) as rows:
        rows({"timesteps": 1.0, "gone": 2.0})
        ends = rows.ends()
    with closing(Rows(tmp_path, ends)) as rows:
        rows({"timesteps": 2.0, "new": 3.0})
    found = read_rows(tmp_path, ends)
    assert list(found) == ["timesteps", "gone"] and list(found["timesteps"]) == [1.0, 2.0]
    assert found["gone"][0] == 2.0 and found["gone"][1] != found["gone"][1]


def test_a_second_row_of_a_step_is_another_training_s(tmp_path):
    with closing(Rows(tmp_path)) as rows:
        rows({"timesteps": 64.0})
        with pytest.raises(ValueError, match="has come to step 64; a row of step 64"):
            rows({"timesteps": 64.0})
    assert list(read_rows(tmp_path)["timesteps"]) == [64.0]
