"""The playground page, in a real browser that cannot reach any other host."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import strawberry
import uvicorn
from playwright.async_api import Page, async_playwright, expect
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.types import Info

from api.playground import ASSETS, AssetWrong, Example, install, is_installed, routes

HOME = Path(os.environ.get("TIDINGS_HOME", ".tidings")).resolve()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EXAMPLES = (
    Example(
        "Ask", "query Greeting($name: String!) { greeting(name: $name) }", {"name": "</script>"}
    ),
    Example("Listen", "subscription Counting { count }"),
    Example("Who", "query Who { caller }"),
)

browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium"),
    pytest.mark.skipif(not is_installed(HOME), reason="no browser files: run `make playground`"),
]


@strawberry.type
class Query:
    @strawberry.field
    def greeting(self, name: str) -> str:
        return f"Hello {name}"

    @strawberry.field
    def caller(self, info: Info) -> str:
        return str(info.context["request"].headers.get("authorization"))


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, info: Info) -> AsyncIterator[str]:
        """Says who is counting: the header has to arrive over the websocket as well."""
        for number in range(3):
            yield f"{number} {info.context['connection_params'].get('Authorization')}"


def application(home: Path) -> Starlette:
    graphql: GraphQL[None, None] = GraphQL(
        strawberry.Schema(Query, subscription=Subscription), graphql_ide=None
    )
    endpoints = [Route("/graphql", graphql), WebSocketRoute("/graphql", graphql)]
    return Starlette(routes=[*routes(home, EXAMPLES, lambda: "development-token"), *endpoints])


async def eventually(holds: Callable[[], Awaitable[bool]]) -> bool:
    for _ in range(200):
        if await holds():
            return True
        await asyncio.sleep(0.05)
    return False


@asynccontextmanager
async def server(home: Path) -> AsyncIterator[str]:
    config = uvicorn.Config(
        application(home), port=0, log_level="warning", ws="websockets-sansio", lifespan="off"
    )
    running = uvicorn.Server(config)
    serving = asyncio.create_task(running.serve())

    async def started() -> bool:
        return running.started

    try:
        assert await eventually(started)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        await serving


@dataclass
class Seen:
    """What the browser asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[tuple[Page, Seen]]:
    seen = Seen()
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await chromium.new_page(viewport={"width": 1280, "height": 800})
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda line: seen.complaints.append(line.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        await page.goto(address)
        yield page, seen
        await chromium.close()


async def stored(page: Page, key: str, part: str) -> bool:
    """Whether GraphiQL has taken note: it does so a moment after the change."""
    return part in str(await page.evaluate("key => sessionStorage[key]", f"graphiql:{key}"))


async def run_tab(page: Page, name: str, answer: str) -> None:
    await page.get_by_role("tab", name=name).click()
    assert await eventually(lambda: stored(page, "operationName", name))
    await page.get_by_label("Execute query").click()
    await expect(page.locator(".result-window")).to_contain_text(answer)


@pytest.mark.parametrize("path", ["/", "/playground"])
async def test_page_is_ours_alone(tmp_path: Path, path: str) -> None:
    for asset in ASSETS:
        (tmp_path / "playground").mkdir(exist_ok=True)
        (tmp_path / "playground" / asset.name).touch()
    transport = httpx.ASGITransport(application(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = await client.get(path)
    assert page.status_code == 200
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert re.findall(r'(?:src|href)="(?!/playground/assets/|data:,)', page.text) == []
    assert page.text.count("integrity=") == len(ASSETS)


async def test_missing_files_are_said(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(application(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = await client.get("/")
        assert page.status_code == 503
        assert "make playground" in page.text
        assert (await client.get("/playground/assets/page.css")).status_code == 200
        for name in ("react.js", "index.html", "..%2f..%2fpyproject.toml"):
            assert (await client.get(f"/playground/assets/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("127.0.0.1:8000", '{\n  "Authorization": "Bearer development-token"\n}'),
        ("[::1]:8000", '{\n  "Authorization": "Bearer development-token"\n}'),
        ("rebound.example", "{}"),
    ],
)
async def test_tokens_stay_on_loopback(tmp_path: Path, host: str, headers: str) -> None:
    transport = httpx.ASGITransport(application(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        config = (await client.get("/playground/config.json")).json()
    assert config["headers"] == headers
    assert {tab["headers"] for tab in config["tabs"]} == {headers}


def test_hashes_are_those_that_strawberry_trusts() -> None:
    page = Path(strawberry.__file__).parent / "static" / "graphiql.html"
    assert {asset.integrity for asset in ASSETS} <= set(
        re.findall(r'integrity="([^"]+)"', page.read_text())
    )


def test_a_changed_file_is_not_installed(tmp_path: Path) -> None:
    for asset in ASSETS:
        (tmp_path / asset.source).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / asset.source).write_text("changed")
    with pytest.raises(AssetWrong, match="does not have the expected hash"):
        install(tmp_path, tmp_path / "home")
    assert not (tmp_path / "home").exists()


class TestInTheBrowser:
    pytestmark = browser

    async def test_ready_tabs_run_and_nothing_else_is_asked(self, tmp_path: Path) -> None:
        async with server(HOME) as address, opened(address) as (page, seen):
            await run_tab(page, "Greeting", '"Hello </script>"')
            await run_tab(page, "Who", '"Bearer development-token"')
            await run_tab(page, "Counting", '"2 Bearer development-token"')
            await page.screenshot(path=tmp_path / "playground.png")
        assert [url for url in seen.requests if not url.startswith((address, "data:"))] == []
        assert seen.complaints == []

    async def test_a_reload_keeps_what_was_typed(self) -> None:
        async with server(HOME) as address, opened(address) as (page, _):
            await page.get_by_role("tab", name="Who").click()
            await page.locator(".graphiql-query-editor .CodeMirror").click()
            await page.keyboard.press("Control+A")
            await page.keyboard.insert_text("query Mine { caller }")
            await expect(page.get_by_role("tab", name="Mine")).to_be_visible()
            assert await eventually(lambda: stored(page, "tabState", "Mine"))
            await page.reload()
            await run_tab(page, "Mine", '"Bearer development-token"')
            await expect(page.get_by_role("tab")).to_have_count(len(EXAMPLES))
