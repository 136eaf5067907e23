"""A command shows what the package says; a library caller hears only what it asks for."""

import logging

from train.command_log import is_heard, messages_on_standard_error

LOGGER = logging.getLogger("train.engine")


def test_a_command_shows_each_message_as_one_whole_line(capsys):
    message = "left out: a [bold] name.png: " + "truncated " * 40
    with messages_on_standard_error():
        LOGGER.info(message)
        LOGGER.warning("leaked")
    assert capsys.readouterr().err == f"{message}\nleaked\n"


def test_a_library_caller_hears_nothing(capfd):
    LOGGER.info("temperature 1.2")
    LOGGER.warning("leaked")
    assert capfd.readouterr() == ("", "")


def test_a_library_caller_may_send_messages_elsewhere(caplog, capfd):
    with caplog.at_level(logging.INFO, logger="train"):
        assert is_heard()
        LOGGER.info("temperature 1.2")
    assert caplog.messages == ["temperature 1.2"] and capfd.readouterr() == ("", "")


def test_after_a_command_all_is_as_before():
    logger = logging.getLogger("train")
    before = list(logger.handlers), logger.level, logger.propagate
    with messages_on_standard_error():
        assert is_heard()
    assert (list(logger.handlers), logger.level, logger.propagate) == before and not is_heard()
