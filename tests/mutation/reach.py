"""Which tests run which statements: one that does not run a mistake cannot find it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coverage import Coverage
from redis import Redis

from services.stack import ValkeyServer
from tests.lua_lines import COUNTED_IN, MARK, count_lines, lines_run
from tests.mutation.lua import LUA
from tests.mutation.mutant import Mutant
from tests.mutation.python import caches

_ROOT = Path(__file__).parents[2]


class Reach:
    """Looks on while tests run without a mistake, one at a time."""

    def __init__(self, mutants: Sequence[Mutant], server: ValkeyServer, folder: Path) -> None:
        """Let scripts say in the server's log which of their lines are run; they are kept in an empty folder."""
        self._mutants = mutants
        self._server = server
        self._caches = caches()
        self._run_by: dict[tuple[str, int], set[str]] = defaultdict(set)
        self._python = Coverage(
            data_file=None, config_file=False, include=sorted({str(_ROOT / mutant.file) for mutant in mutants})
        )
        self._python.set_option("run:disable_warnings", ["no-data-collected"])
        self._python.start()
        count_lines(folder)

    @contextmanager
    def of(self, test: str) -> Iterator[None]:
        """Look on while this test does everything as if none had been before it."""
        for cached in self._caches:
            cached.cache_clear()
        with Redis.from_url(self._server.url, db=COUNTED_IN) as redis:
            redis.delete(MARK)
        before = self._server.process.log.stat().st_size
        self._python.switch_context(test)
        yield
        with self._server.process.log.open(errors="replace") as log:
            log.seek(before)
            for path, line in lines_run(log.read()):
                self._run_by[str(LUA / path), line].add(test)

    def end(self) -> dict[str, list[str]]:
        """Give the tests that run the statement of each mutant, by its name; those that none runs are left out."""
        self._python.stop()
        data = self._python.get_data()
        for file in data.measured_files():
            for line, tests in data.contexts_by_lineno(file).items():
                self._run_by[str(Path(file).relative_to(_ROOT)), line].update(tests)
        return {mutant.name: found for mutant in self._mutants if (found := sorted(self._reaching(mutant)))}

    def _reaching(self, mutant: Mutant) -> set[str]:
        first, last = mutant.lines
        return set().union(*(self._run_by.get((mutant.file, line), ()) for line in range(first, last + 1)))
