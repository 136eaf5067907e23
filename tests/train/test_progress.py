"""Long work is told of where there is no terminal to show a bar on."""

import pytest

from train import progress
from train.command_log import messages_on_standard_error


@pytest.mark.parametrize(("pause", "says"), [(0.0, "features: 1,200 of 4,000\nresizing: 5 of 10\n"), (60.0, "")])
def test_without_a_terminal_a_line_comes_after_each_pause(pause, says, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PAUSE_S", pause)
    with messages_on_standard_error(), progress.progress_bar("features") as bar:
        bar.update(1200, 4000)
        bar.update(5, 10, "resizing")
    assert capsys.readouterr().err == says
