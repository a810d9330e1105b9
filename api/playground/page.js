"use strict";

// What was typed lasts as long as the browser tab: a new one opens with the ready examples again.
const storage = window.sessionStorage;

// A reload keeps the open tabs, but their old development token may have run out.
function renewHeaders(headers) {
  const old = storage.getItem("tidings:headers");
  const inJson = (text) => JSON.stringify(text).slice(1, -1);
  const tabs = storage.getItem("graphiql:tabState");
  if (old && tabs) {
    storage.setItem("graphiql:tabState", tabs.replaceAll(inJson(old), inJson(headers)));
  }
  if (old && storage.getItem("graphiql:headers") === old) {
    storage.setItem("graphiql:headers", headers);
  }
  storage.setItem("tidings:headers", headers);
}

async function open() {
  const config = await (await fetch("/playground/config.json")).json();
  renewHeaders(config.headers);
  const socket = new URL("/graphql", window.location.href);
  socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
  const playground = React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({
      url: "/graphql",
      subscriptionUrl: socket.href,
      enableIncrementalDelivery: false,
    }),
    plugins: [GraphiQLPluginExplorer.explorerPlugin()],
    defaultTabs: config.tabs,
    defaultHeaders: config.headers,
    defaultEditorToolsVisibility: true,
    inputValueDeprecation: true,
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: true,
    storage,
  });
  ReactDOM.createRoot(document.getElementById("playground")).render(playground);
}

open().catch((reason) => {
  document.getElementById("playground").textContent = `The playground cannot start: ${reason}`;
});
