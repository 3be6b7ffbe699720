"""What may go wrong without being a bug."""


class OpdError(Exception):
    """A failure that whoever typed the command can mend: the text's first line says it, the rest helps.

    The console script prints the text and leaves with `exit_code`; only `--debug` shows where it was raised.
    """

    exit_code = 1
