"""Link and Server over real Unix sockets, in one trio run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from shared.ipc import (
    BusyError,
    ConnectionLostError,
    DeadlineError,
    IpcError,
    Link,
    RemoteError,
    Request,
    Server,
    SocketPathError,
    Together,
    frames,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "x.sock")


async def start_server(nursery: trio.Nursery, server: Server) -> trio.CancelScope:
    """Runs `server` in a scope of its own, so that a test can end it as a crash would."""
    scope = trio.CancelScope()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await server.run(task_status=task_status)

    await nursery.start(run)
    return scope


async def start_silent_server(nursery: trio.Nursery, path: str) -> tuple[trio.Event, trio.Event]:
    """One whose `Never` gives no answer; the beginning and the end of the call."""
    server = Server(path, name="slow")
    started, ended = trio.Event(), trio.Event()

    async def never(request: Request) -> None:
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    server.slow("Never", never)
    await start_server(nursery, server)
    return started, ended


def echo_server(path: str) -> Server:
    server = Server(path, name="echo")
    server.fast("Echo", lambda request: request.reply(request.payload))
    return server


async def test_a_call_gets_its_answer_with_str_and_bytes_kept_apart(nursery: trio.Nursery, path: str) -> None:
    await start_server(nursery, echo_server(path))
    link = Link(path, name="test")
    await nursery.start(link.run)
    assert await link.call("Echo", ["text", b"bytes", {"n": 1}], timeout_s=30) == ["text", b"bytes", {"n": 1}]


async def test_a_call_waits_for_a_neighbour_that_starts_later(nursery: trio.Nursery, path: str) -> None:
    link = Link(path, name="test")
    await nursery.start(link.run)
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await link.call("Echo", 1, timeout_s=30))

    async with trio.open_nursery() as calls:
        calls.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        assert not link.connected
        await start_server(nursery, echo_server(path))
    assert answers == [1]


async def test_a_neighbour_that_never_comes_is_a_deadline_error(nursery: trio.Nursery, path: str) -> None:
    link = Link(path, name="test")
    await nursery.start(link.run)
    with pytest.raises(DeadlineError, match="not reachable"):
        await link.call("Echo", 1, timeout_s=0.05)


async def test_a_silent_neighbour_is_a_deadline_error_and_hears_of_it(nursery: trio.Nursery, path: str) -> None:
    _, ended = await start_silent_server(nursery, path)
    link = Link(path, name="test")
    await nursery.start(link.run)
    with trio.fail_after(30):
        link.notify("Hello")  # not sent, but it connects
        while not link.connected:  # else the time may be over before the neighbour hears of the call
            await trio.sleep(0.001)
        with pytest.raises((DeadlineError, RemoteError)):
            await link.call("Never", timeout_s=0.5)
        await ended.wait()


async def test_cancelling_the_caller_cancels_the_handler(nursery: trio.Nursery, path: str) -> None:
    started, ended = await start_silent_server(nursery, path)
    link = Link(path, name="test")
    await nursery.start(link.run)
    async with trio.open_nursery() as calls:
        calls.start_soon(lambda: link.call("Never", timeout_s=60))
        await started.wait()
        calls.cancel_scope.cancel()
    with trio.fail_after(30):
        await ended.wait()
    assert link.pending_calls == 0


async def test_errors_keep_their_code_text_and_data(nursery: trio.Nursery, path: str) -> None:
    server = Server(path, name="x")
    server.fast("NotLeader", lambda request: request.fail("not_leader", "not here", {"leader": "127.0.0.1:8300"}))

    def broken(request: Request) -> None:
        raise ZeroDivisionError("secret detail")

    server.fast("Broken", broken)
    await start_server(nursery, server)
    link = Link(path, name="test")
    await nursery.start(link.run)
    with pytest.raises(RemoteError) as caught:
        await link.call("NotLeader", timeout_s=30)
    assert (caught.value.code, str(caught.value), caught.value.data) == (
        "not_leader",
        "not here",
        {"leader": "127.0.0.1:8300"},
    )
    with pytest.raises(RemoteError) as caught:
        await link.call("Broken", timeout_s=30)
    assert caught.value.code == "internal"
    assert "secret" not in str(caught.value)
    with pytest.raises(RemoteError) as caught:
        await link.call("Missing", timeout_s=30)
    assert caught.value.code == "unknown_method"


async def test_a_crash_fails_what_may_have_arrived_and_repeats_what_is_safe(nursery: trio.Nursery, path: str) -> None:
    first = Server(path, name="first")
    arrived: list[Request] = []
    both = trio.Event()

    def keep(request: Request) -> None:
        arrived.append(request)
        if len(arrived) == 2:
            both.set()

    first.fast("Read", keep)
    first.fast("Write", keep)
    scope = await start_server(nursery, first)
    link = Link(path, name="test")
    await nursery.start(link.run)
    outcomes: dict[str, Any] = {}
    read_done = trio.Event()

    def done(name: str) -> Callable[[Any, IpcError | None], None]:
        def on_done(value: Any, error: IpcError | None) -> None:
            outcomes[name] = error if error is not None else value
            if name == "read":
                read_done.set()

        return on_done

    link.post("Read", None, done("read"), timeout_s=30, retry_safe=True)
    link.post("Write", None, done("write"), timeout_s=30)
    with trio.fail_after(30):
        await both.wait()
        scope.cancel()
        second = Server(path, name="second")
        second.fast("Read", lambda request: request.reply("second"))
        await trio.testing.wait_all_tasks_blocked()
        await start_server(nursery, second)
        await read_done.wait()
    assert outcomes["read"] == "second"
    assert isinstance(outcomes["write"], ConnectionLostError)


async def test_events_reach_subscribers_also_after_a_reconnect(nursery: trio.Nursery, path: str) -> None:
    first = echo_server(path)
    scope = await start_server(nursery, first)
    link = Link(path, name="test")
    seen: list[Any] = []
    got = trio.Event()

    def on_event(value: Any) -> None:
        seen.append(value)
        got.set()

    ups: list[None] = []
    link.on_up(lambda: ups.append(None))
    link.subscribe("changes", on_event)
    await nursery.start(link.run)
    with trio.fail_after(30):
        await link.call("Echo", timeout_s=30)
        first.publish("changes", 1)
        await got.wait()
        got = trio.Event()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        second = echo_server(path)
        await start_server(nursery, second)
        await link.call("Echo", timeout_s=30)
        second.publish("changes", 2)
        await got.wait()
    assert seen == [1, 2]
    assert len(ups) == 2


async def test_a_subscription_that_begins_again_says_so_before_its_events(nursery: trio.Nursery, path: str) -> None:
    server = echo_server(path)
    await start_server(nursery, server)
    link = Link(path, name="test")
    await nursery.start(link.run)
    seen: list[Any] = []
    link.subscribe("changes", seen.append, begun=lambda: seen.append("begun"))
    await link.call("Echo", timeout_s=30)
    server.publish("changes", 1)
    await link.call("Echo", timeout_s=30)
    link.unsubscribe("changes")
    await link.call("Echo", timeout_s=30)
    server.publish("changes", 2)
    link.subscribe("changes", seen.append, begun=lambda: seen.append("begun again"))
    await link.call("Echo", timeout_s=30)
    server.publish("changes", 3)
    await link.call("Echo", timeout_s=30)
    assert seen == ["begun", 1, "begun again", 3]


async def test_a_stream_is_held_back_by_its_consumer(nursery: trio.Nursery, path: str) -> None:
    server = Server(path, name="x")
    produced = 0

    async def count(request: Request, send: Callable[[Any], Any]) -> None:
        nonlocal produced
        for number in range(request.payload):
            await send(number)
            produced += 1

    server.stream("Count", count)
    await start_server(nursery, server)
    link = Link(path, name="test")
    await nursery.start(link.run)
    received = []
    async with link.stream("Count", 1000) as items:
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert produced <= 64
        async for item in items:
            received.append(item)
    assert received == list(range(1000))


async def test_leaving_a_stream_early_ends_its_producer(nursery: trio.Nursery, path: str) -> None:
    server = Server(path, name="x")
    ended = trio.Event()

    async def for_ever(request: Request, send: Callable[[Any], Any]) -> None:
        try:
            while True:
                await send("x")
        finally:
            ended.set()

    server.stream("ForEver", for_ever)
    await start_server(nursery, server)
    link = Link(path, name="test")
    await nursery.start(link.run)
    async with link.stream("ForEver") as items:
        async for item in items:
            assert item == "x"
            break
    with trio.fail_after(30):
        await ended.wait()


async def test_a_descriptor_travels_with_its_message(nursery: trio.Nursery, path: str) -> None:
    server = echo_server(path)
    received: list[tuple[Any, bytes]] = []

    def handoff(request: Request) -> None:
        [fd] = request.fds
        received.append((request.payload, os.read(fd, 10)))
        os.close(fd)

    server.fast("Handoff", handoff)
    await start_server(nursery, server)
    link = Link(path, name="test")
    await nursery.start(link.run)
    await link.call("Echo", timeout_s=30)
    for number in range(3):
        read_end, write_end = os.pipe()
        os.write(write_end, b"pipe %d" % number)
        assert link.send_fds("Handoff", number, [read_end])
        os.close(read_end)
        os.close(write_end)
    await link.call("Echo", timeout_s=30)
    assert received == [(number, b"pipe %d" % number) for number in range(3)]


async def test_answers_larger_than_the_socket_buffer_arrive_whole(nursery: trio.Nursery, path: str) -> None:
    await start_server(nursery, echo_server(path))
    link = Link(path, name="test")
    await nursery.start(link.run)
    big = os.urandom(9_000_000)
    assert await link.call("Echo", big, timeout_s=20) == big


async def test_too_many_waiting_calls_are_refused_at_once(nursery: trio.Nursery, path: str) -> None:
    link = Link(path, name="test", max_calls=2)
    await nursery.start(link.run)
    errors: list[IpcError | None] = []
    for _ in range(3):
        link.post("Echo", None, lambda _, error: errors.append(error), timeout_s=30)
    assert len(errors) == 1
    assert isinstance(errors[0], BusyError)


async def test_one_batch_of_frames_gives_one_batch_end(nursery: trio.Nursery, path: str) -> None:
    batches: list[int] = []
    waiting: list[Request] = []

    def commit() -> None:
        if waiting:
            batches.append(len(waiting))
            for request in waiting:
                request.reply(True)
            waiting.clear()

    server = Server(path, name="x", on_batch_end=commit)
    server.fast("Apply", waiting.append)
    await start_server(nursery, server)
    link = Link(path, name="test")
    await nursery.start(link.run)
    done = trio.Event()
    answers: list[Any] = []

    def on_done(value: Any, error: IpcError | None) -> None:
        answers.append(value)
        if len(answers) == 50:
            done.set()

    for _ in range(50):
        link.post("Apply", None, on_done, timeout_s=30)
    with trio.fail_after(30):
        await done.wait()
    assert batches == [50]


async def test_garbage_on_the_socket_ends_that_connection_only(nursery: trio.Nursery, path: str) -> None:
    await start_server(nursery, echo_server(path))
    link = Link(path, name="test")
    await nursery.start(link.run)
    await link.call("Echo", timeout_s=30)
    stream = await trio.open_unix_socket(path)
    await stream.send_all(b"\xc1 garbage")
    with trio.fail_after(30):
        while await stream.receive_some(1000):
            pass
    assert await link.call("Echo", "still here", timeout_s=30) == "still here"


async def test_a_neighbour_of_another_version_is_not_spoken_to(nursery: trio.Nursery, path: str) -> None:
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(path)
    listener.listen(5)

    async def old_version() -> None:
        while True:
            sock, _ = await listener.accept()
            await sock.send(frames.encode((frames.HELLO, 99, "old")))

    nursery.start_soon(old_version)
    link = Link(path, name="test")
    await nursery.start(link.run)
    with pytest.raises(DeadlineError):
        await link.call("Echo", timeout_s=0.3)
    nursery.cancel_scope.cancel()


async def test_two_servers_cannot_share_a_path(nursery: trio.Nursery, path: str) -> None:
    await start_server(nursery, echo_server(path))
    with pytest.raises(SocketPathError, match="another process serves"):
        await echo_server(path).run()


def test_a_path_that_is_too_long_names_the_limit() -> None:
    with pytest.raises(SocketPathError, match="Unix allows 107"):
        Link("/" + "x" * 120, name="test")


async def test_results_that_leave_together_end_their_calls_and_nobody_elses(nursery: trio.Nursery, path: str) -> None:
    together, waiting = Together(), list[Request]()
    server = Server(path, name="server")
    server.fast("Wait", waiting.append)
    await start_server(nursery, server)
    one, other = Link(path, name="one"), Link(path, name="other")
    answers: list[tuple[str, Any, IpcError | None]] = []
    answered = trio.Event()

    def post(link: Link, text: str) -> None:
        def on_done(value: Any, error: IpcError | None) -> None:
            answers.append((text, value, error))
            if len(answers) == 4:
                answered.set()

        link.post("Wait", text, on_done, timeout_s=30)

    for link in (one, other):
        await nursery.start(link.run)
    for link, text in ((one, "a"), (other, "b"), (one, "c"), (one, "alone")):
        post(link, text)
    with trio.fail_after(30):
        while len(waiting) < 4:
            await trio.sleep(0.001)
        for request in waiting:
            if request.payload != "alone":
                request.reply_with(together, request.payload.upper())
        together.flush()
        together.flush()
        assert one.pending_calls + other.pending_calls == 4
        next(request for request in waiting if request.payload == "alone").reply("ALONE")
        await answered.wait()
    assert sorted(answers) == [("a", "A", None), ("alone", "ALONE", None), ("b", "B", None), ("c", "C", None)]
    assert one.pending_calls + other.pending_calls == 0
