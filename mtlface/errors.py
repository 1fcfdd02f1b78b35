"""The one error that a user's mistake raises."""


class MtlfaceError(Exception):
    """Something a user can mend: a wrong path, key, label, file or machine.

    The message is one short paragraph that names the thing, says what was expected and what was
    found, and how to mend it. The doors print it without a stack trace.
    """


def did_you_mean(name: str, known: list[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the closest of the known names, or an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
