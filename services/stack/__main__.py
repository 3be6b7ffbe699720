"""`python -m services.stack` fetches ahead of its use what the embedded servers need; with `lock`, it locks it anew."""

import sys

from services.errors import OpdError
from services.stack.jars import class_path, write_lock
from services.stack.progress import Progress

if sys.argv[1:] == ["lock"]:
    write_lock()
else:
    try:
        with Progress().part("Kafka's jars") as say:
            class_path(say)
    except OpdError as error:
        sys.exit(f"opd: {error}")
