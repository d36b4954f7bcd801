// Tells the terminal, before it begins, where its socket is: below whatever address this page has.
document.addEventListener("DOMContentLoaded", () => {
  const socket = new URL("page/socket", document.baseURI);
  socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
  document.getElementById("terminal").dataset.sessionWebsocketUrl = socket.href;
});
// Keys go to the terminal: once it is there, and whenever the window is looked at again.
const type = () => document.querySelector(".xterm-helper-textarea")?.focus();
window.addEventListener("load", () => setTimeout(type));
window.addEventListener("focus", type);
