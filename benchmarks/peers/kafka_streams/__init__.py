"""Kafka Streams, exactly once: built with the machine's `javac` and the jars of `jars.lock`.

`python -m benchmarks.peers.kafka_streams` locks the jars anew.
"""

import shutil
import subprocess
from pathlib import Path

from benchmarks.contender import Unavailable
from services.stack.jars import class_path
from services.stack.java import find_java

COORDINATES = "org.apache.kafka:kafka-streams:4.3.0+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
SOURCES = Path(__file__).parent
LOCK = SOURCES / "jars.lock"
LOG4J = Path(__file__).parents[3] / "services" / "stack" / "log4j2.properties"


def kafka_streams_command(folder: Path) -> list[str | Path]:
    """Compile it once into a folder, and give what runs it.

    Raises:
        Unavailable: this machine has no `javac`.
    """
    javac = shutil.which("javac")
    if javac is None:
        raise Unavailable("no javac on the path: a JDK of version 17 or newer is needed")
    jars = ":".join(map(str, class_path(lambda _: None, LOCK)))
    classes = folder / "kafka-streams"
    if not classes.exists():
        sources = sorted(SOURCES.glob("*.java"))
        subprocess.run([javac, "--release", "17", "-d", classes, "-cp", jars, *sources], check=True)  # noqa: S603  ours
    return [find_java(), "-Xmx1g", f"-Dlog4j2.configurationFile={LOG4J}", "-cp", f"{classes}:{jars}", "Peer"]
