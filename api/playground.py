"""The playground: GraphiQL in the browser, from our own server, with ready operations to run.

1. Nothing comes from another host: six files of npm packages lie in `<home>/playground`, each
   checked by its hash when it is installed and again by the browser.
2. The page may run scripts of this server only (`Content-Security-Policy`).
3. A development token goes only to a page that was asked for by a loopback name, so that a
   foreign page cannot get at it by pointing its own name to this machine.

`python -m api.playground NODE_MODULES HOME` installs the files.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

PAGE = Path(__file__).parent / "playground"
OWN = ("page.css", "page.js")
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",  # the dialogs of GraphiQL write style elements
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{what} {where}" for what, where in POLICY.items()),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
ASSET_HEADERS = {**HEADERS, "Cache-Control": "no-cache"}


@dataclass(frozen=True)
class Asset:
    """A file of an npm package: our name, its place in `node_modules`, its SHA-384."""

    name: str
    source: str
    sha384: str

    @property
    def integrity(self) -> str:
        return f"sha384-{self.sha384}"


ASSETS = (
    Asset(
        "graphiql.css",
        "graphiql/graphiql.min.css",
        "Mq3vbRBY71jfjQAt/DcjxUIYY33ksal4cgdRt9U/hNPvHBCaT2JfJ/PTRiPKf0aM",
    ),
    Asset(
        "explorer.css",
        "@graphiql/plugin-explorer/dist/style.css",
        "5DFJlDPW2tSATRbM8kzoP1j194jexLswuNmClWoRr2Q0x7R68JIQzPHZ02Faktwi",
    ),
    Asset(
        "react.js",
        "react/umd/react.production.min.js",
        "tMH8h3BGESGckSAVGZ82T9n90ztNXxvdwvdM6UoR56cYcf+0iGXBliJ29D+wZ/x8",
    ),
    Asset(
        "react-dom.js",
        "react-dom/umd/react-dom.production.min.js",
        "bm7MnzvK++ykSwVJ2tynSE5TRdN+xL418osEVF2DE/L/gfWHj91J2Sphe582B1Bh",
    ),
    Asset(
        "graphiql.js",
        "graphiql/graphiql.min.js",
        "HbRVEFG0JGJZeAHCJ9Xm2+tpknBQ7QZmNlO/DgZtkZ0aJSypT96YYGRNod99l9Ie",
    ),
    Asset(
        "explorer.js",
        "@graphiql/plugin-explorer/dist/index.umd.js",
        "2oonKe47vfHIZnmB6ZZ10vl7T0Y+qrHQF2cmNTaFDuPshpKqpUMGMc9jgj9MLDZ9",
    ),
)


@dataclass(frozen=True)
class Example:
    """An operation that stands ready in a tab of its own."""

    title: str
    query: str
    variables: dict[str, Any] = field(default_factory=dict)


class AssetWrong(Exception):
    """A file from npm that is not the one we know."""


def routes(home: Path, examples: Sequence[Example], token: Callable[[], str] | None) -> list[Route]:
    """The page at `/` and `/playground`; `token` makes a development token, where there is one."""

    async def page(_: Request) -> Response:
        if is_installed(home):
            return HTMLResponse(_page_html(), headers=HEADERS)
        return HTMLResponse((PAGE / "missing.html").read_text(), 503, headers=HEADERS)

    async def config(request: Request) -> Response:
        trusted = token is not None and request.url.hostname in LOOPBACK
        bearer = token() if token and trusted else None
        return JSONResponse(_config(examples, bearer), headers=HEADERS)

    async def asset(request: Request) -> Response:
        path = _asset_path(home, request.path_params["name"])
        if path is None or not path.is_file():
            return Response(status_code=404, headers=HEADERS)
        return FileResponse(path, headers=ASSET_HEADERS)

    return [
        Route("/", page),
        Route("/playground", page),
        Route("/playground/config.json", config),
        Route("/playground/assets/{name}", asset),
    ]


def is_installed(home: Path) -> bool:
    return all((home / "playground" / asset.name).is_file() for asset in ASSETS)


def install(node_modules: Path, home: Path) -> None:
    """Copy the files out of `node_modules`; raises `AssetWrong` before anything is written."""
    contents = {asset: (node_modules / asset.source).read_bytes() for asset in ASSETS}
    for asset, content in contents.items():
        if base64.b64encode(hashlib.sha384(content).digest()).decode() != asset.sha384:
            raise AssetWrong(f"{asset.source} does not have the expected hash")
    (home / "playground").mkdir(parents=True, exist_ok=True)
    for asset, content in contents.items():
        (home / "playground" / asset.name).write_bytes(content)


def _asset_path(home: Path, name: str) -> Path | None:
    """An allow-list: no name of a client becomes part of a path."""
    if name in OWN:
        return PAGE / name
    if name in {asset.name for asset in ASSETS}:
        return home / "playground" / name
    return None


def _page_html() -> str:
    known = [(asset.name, f' integrity="{asset.integrity}"') for asset in ASSETS]
    files = [*known, *((name, "") for name in OWN)]
    styles = [
        f'<link rel="stylesheet" href="/playground/assets/{name}"{integrity} />'
        for name, integrity in files
        if name.endswith(".css")
    ]
    scripts = [
        f'<script src="/playground/assets/{name}"{integrity}></script>'
        for name, integrity in files
        if name.endswith(".js")
    ]
    template = Template((PAGE / "index.html").read_text())
    return template.substitute(styles="\n    ".join(styles), scripts="\n    ".join(scripts))


def _config(examples: Sequence[Example], bearer: str | None) -> dict[str, Any]:
    headers = _pretty({"Authorization": f"Bearer {bearer}"} if bearer else {})
    return {
        "headers": headers,
        "tabs": [
            {
                "query": f"# {example.title}\n{example.query.strip()}\n",
                "variables": _pretty(example.variables) if example.variables else None,
                "headers": headers,
            }
            for example in examples
        ],
    }


def _pretty(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    install(Path(sys.argv[1]), Path(sys.argv[2]))
