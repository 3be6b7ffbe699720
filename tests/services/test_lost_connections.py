import asyncio
from collections.abc import Callable

import pytest
import uvloop

from services.allocator.lost_connections import report_lost_connections


@pytest.mark.parametrize("write", [lambda writer: writer.write(b"x"), lambda writer: writer.writelines([b"x"])])
def test_a_write_to_a_connection_that_was_just_lost_is_an_os_error(
    write: Callable[[asyncio.StreamWriter], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio.StreamWriter, "write", asyncio.StreamWriter.write)
    monkeypatch.setattr(asyncio.StreamWriter, "writelines", asyncio.StreamWriter.writelines)

    async def write_when_lost() -> None:
        server = await asyncio.start_server(lambda _, peer: peer.transport.abort(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.transport.abort()
            await asyncio.sleep(0)
            write(writer)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with pytest.raises(RuntimeError, match="the handler is closed"):
            runner.run(write_when_lost())
        report_lost_connections()
        with pytest.raises(ConnectionResetError):
            runner.run(write_when_lost())
