"""A headless browser for tests, over the DevTools protocol: what a page did, what is in it, how it looks.

Needs chromium on the PATH. Everything that the browser reports is kept: messages of the console, policy violations,
dialogs, requests.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
ENDED = 20.0
"""Seconds that anything may take."""


class Browser:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        """What the console said, and every exception and policy violation."""
        self.dialogs: list[str] = []
        self.requests: list[str] = []

    async def listen(self) -> None:
        """Take what the browser sends, until it ends."""
        async for message in self._socket:
            sent = json.loads(message.data)
            if "id" in sent:
                self._waiting.pop(sent["id"]).set_result(sent)
            else:
                self._take(sent["method"], sent["params"])

    def _take(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params))
            case "Audits.issueAdded":
                self.complaints.append(json.dumps(params["issue"]))
            case "Page.javascriptDialogOpening":
                self.dialogs.append(params["message"])
                task = asyncio.ensure_future(self.send("Page.handleJavaScriptDialog", accept=True))
                task.add_done_callback(lambda done: done.exception())
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command's result. Raises RuntimeError where the browser refuses it."""
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        sent = await asyncio.wait_for(answer, ENDED)
        if "error" in sent:
            raise RuntimeError(f"{method}: {sent['error']}")
        return dict(sent["result"])

    async def start(self) -> None:
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            await self.send(f"{domain}.enable")

    async def open(self, page: Path) -> None:
        """Load a file, and wait until nothing more happens at once."""
        self._loaded.clear()
        self.requests.clear()
        await self.send("Page.navigate", url=page.resolve().as_uri())
        await asyncio.wait_for(self._loaded.wait(), ENDED)
        await self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, as JSON. Runs outside of the page's policy."""
        sent = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in sent:
            raise RuntimeError(json.dumps(sent["exceptionDetails"]))
        return sent["result"].get("value")

    async def look(self, width: int, height: int, *, dark: bool = False, scale: float = 1, phone: bool = False) -> None:
        """The size of the window, and which colours are preferred."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, whole: bool = False) -> bytes:
        """What is seen, or the whole page, as PNG."""
        sent = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(sent["data"])

    async def pdf(self) -> bytes:
        sent = await self.send("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        return base64.b64decode(sent["data"])


def program() -> str:
    """Where the browser is. Raises FileNotFoundError."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise FileNotFoundError(f"no browser: one of {', '.join(NAMES)} is needed on the PATH")
    return found


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser with a tab of its own and no profile; it ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                program(),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(folder), process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    tabs = await answer.json()
                url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    browser = Browser(socket)
                    listener = asyncio.create_task(browser.listen())
                    await browser.start()
                    yield browser
                    listener.cancel()
                    with suppress(asyncio.CancelledError):
                        await listener
        finally:
            process.terminate()
            process.wait(ENDED)


async def _port(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """The port of the protocol, once the browser has written it down."""
    file = folder / "DevToolsActivePort"
    for _ in range(int(ENDED / 0.05)):
        if process.poll() is not None:
            raise RuntimeError(f"the browser ended with {process.returncode}")
        if file.exists() and (found := re.match(r"(\d+)\n", file.read_text())):
            return int(found[1])
        await asyncio.sleep(0.05)
    raise TimeoutError("the browser did not start")
