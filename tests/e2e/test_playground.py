"""The playground as it opens: its operations, run in a real browser against the real server."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from tests.api.test_playground import CHROMIUM, FLAGS, HOME, browser
from tests.e2e.server import environment, process, serving

pytestmark = browser


@pytest.fixture
async def page(tmp_path: Path, mongodb_uri: str, database_name: str) -> AsyncIterator[Page]:
    """The page of a server with the demo loaded."""
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database_name}
    shutil.copytree(HOME / "playground", tmp_path / "playground")
    with (
        serving(tmp_path, settings) as server,
        process(("load", "demo"), environment(tmp_path, settings)) as loading,
    ):
        assert loading.wait(60) == 0
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            opened = await (await chromium.new_context()).new_page()
            await opened.goto(server.url)
            yield opened
            await chromium.close()


async def run(page: Page, tab: int, operation: str) -> Locator:
    """Run the operation of a tab; where its answer is shown.

    GraphiQL finds out a moment later which operation a tab holds. Until then it asks for that of
    the tab before, which the document does not have: it is run again.
    """
    await page.locator(".graphiql-tab-button").nth(tab).click()
    editor = page.locator(".query-editor, .graphiql-query-editor").first
    await expect(editor).to_contain_text(operation)
    answer = page.locator(".result-window")
    while True:
        await page.locator(".graphiql-execute-button").click()
        await page.wait_for_timeout(500)
        if "no operation of that name" not in await answer.inner_text():
            return answer


async def test_a_query_a_command_and_a_subscription_are_ready_to_run(page: Page) -> None:
    await expect(await run(page, 0, "query Orders")).to_contain_text('"totalCount": 8')
    listening = await page.context.new_page()
    await listening.goto(page.url)
    told = await run(listening, 2, "subscription Notifications")
    await expect(listening.locator(".graphiql-execute-button")).to_have_attribute(
        "aria-label", re.compile("Stop")
    )
    await expect(await run(page, 1, "mutation PlaceOrder")).to_contain_text('"replayed": false')
    await expect(told).to_contain_text("ORDER_CONFIRMED")
