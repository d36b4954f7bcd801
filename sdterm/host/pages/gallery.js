// Lists the saved pictures and shows one with its infotext. Everything is set as text: infotexts are strangers'.
const [list, said, more] = ["ul", "#said", ".more"].map((each) => document.querySelector(each));
const [dialog, filter] = ["dialog", "input"].map((each) => document.querySelector(each));
let pictures = [];
let next = null;
let shown = 0;
let asked = 0;

async function load(isNew) {
  const mine = ++asked;
  const address = new URL("list", document.baseURI);
  address.searchParams.set("limit", "60");
  if (filter.value.trim()) address.searchParams.set("q", filter.value.trim());
  if (!isNew && next) address.searchParams.set("cursor", next);
  const answer = await fetch(address);
  const page = await answer.json();
  if (mine !== asked) return;
  if (isNew) {
    pictures = [];
    list.replaceChildren();
  }
  if (!answer.ok) {
    said.textContent = page.message || said.dataset.silent;
    return;
  }
  for (const picture of page.pictures) add(picture);
  next = page.next;
  more.hidden = !next;
  said.textContent = pictures.length ? "" : said.dataset.none;
}

function add(picture) {
  const number = pictures.push(picture) - 1;
  const [item, button, image, words] = ["li", "button", "img", "span"].map((each) => document.createElement(each));
  image.loading = "lazy";
  image.alt = "";
  image.src = `thumbnail/${picture.id}?size=256`;
  words.textContent = `${picture.id}  ${picture.infotext.split("\n")[0]}`;
  button.append(image, words);
  button.addEventListener("click", () => show(number));
  item.append(button);
  list.append(item);
}

function show(number) {
  if (number < 0 || number >= pictures.length) return;
  shown = number;
  const picture = pictures[number];
  dialog.querySelector("img").src = dialog.querySelector("a").href = `../pictures/${picture.id}`;
  dialog.querySelector("pre").textContent = picture.infotext;
  if (!dialog.open) dialog.showModal();
}

dialog.addEventListener("close", () => list.children[shown]?.firstChild.focus());
more.addEventListener("click", () => load(false));
filter.addEventListener("input", () => load(true));
document.addEventListener("keydown", (event) => {
  const buttons = [...list.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (dialog.open && step) show(shown + step);
  else if (event.key === "/" && document.activeElement !== filter) filter.focus();
  else if (step && document.activeElement !== filter && buttons.length)
    buttons[Math.min(Math.max(at + step, 0), buttons.length - 1)].focus();
  else return;
  event.preventDefault();
});
load(true);
