"""So many requests a second, GET and POST by turns, until a line comes in; then what came of them, as JSON."""

import asyncio
import collections
import json
import sys
import uuid

import aiohttp

url, rate = sys.argv[1], float(sys.argv[2])


async def one(session: aiohttp.ClientSession, number: int, counts: collections.Counter[str]) -> None:
    try:
        if number % 2:
            async with session.post(url, data=uuid.uuid4().hex) as answer:
                await answer.read()
        else:
            async with session.get(url) as answer:
                await answer.read()
        counts[str(answer.status)] += 1
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        counts[repr(error)] += 1


async def main() -> None:
    counts: collections.Counter[str] = collections.Counter()
    stop = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    loop = asyncio.get_running_loop()
    timeout = aiohttp.ClientTimeout(total=20)
    connector = aiohttp.TCPConnector(limit=200)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        began, number = loop.time(), 0
        while not stop.done() and number < 200_000:
            while number < (loop.time() - began) * rate:
                group.create_task(one(session, number, counts))
                number += 1
            await asyncio.sleep(0.005)
    print(json.dumps(counts), flush=True)


asyncio.run(main())
