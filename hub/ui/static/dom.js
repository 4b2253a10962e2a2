// Elements, made and changed without HTML: whatever a peer has published stays text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with a class, a text and children. */
export function element(tag, className = "", text = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/** An SVG element with attributes. */
export function shape(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Change a text only where it is another: what stays is not announced again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Keep one element for each key, in the order of `items`; `make` and `update` are given an item. */
export function keyed(parent, items, keyOf, make, update) {
  const there = parent.keyed ?? (parent.keyed = new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, each] of there) {
    if (!wanted.has(key)) {
      each.remove();
      there.delete(key);
    }
  }
  items.forEach((item, at) => {
    let each = there.get(keyOf(item));
    if (!each) there.set(keyOf(item), (each = make(item)));
    if (parent.children[at] !== each) parent.insertBefore(each, parent.children[at] ?? null);
    update(each, item);
  });
}
