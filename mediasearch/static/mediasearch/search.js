const form = document.querySelector(".ms-form");
const box = form?.querySelector('input[name="q"]');

// "/" puts the cursor into the search box, as on most sites that are searched often.
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && box && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    box.focus();
    box.select();
  }
});

// A picture that is chosen, dropped or pasted is searched with at once, with the words and filters as they stand.
const sender = document.getElementById("ms-with-picture");
if (form && sender) {
  const ask = form.querySelector(".ms-ask");
  const upload = sender.elements.namedItem("upload");
  const send = () => {
    for (const [name, value] of new FormData(form)) {
      const copy = sender.elements.namedItem(name);
      if (copy) copy.value = value;
    }
    ask.setAttribute("aria-busy", "true");
    sender.requestSubmit();
  };
  const take = (event, files) => {
    const picture = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
    if (!picture) return;
    event.preventDefault();
    const one = new DataTransfer();
    one.items.add(picture);
    upload.files = one.files;
    send();
  };
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  upload.addEventListener("change", () => upload.files.length && send());
  document.addEventListener("paste", (event) => take(event, event.clipboardData?.files ?? []));
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    ask.classList.add("ms-drop");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? ask.classList.remove("ms-drop"));
  document.addEventListener("drop", (event) => {
    ask.classList.remove("ms-drop");
    if (carriesFiles(event)) take(event, event.dataTransfer.files);
  });
  window.addEventListener("pageshow", () => ask.removeAttribute("aria-busy"));
  // What answers a posted picture has an address of its own: reloading or coming back need not post it again.
  if (sender.dataset.address) history.replaceState(null, "", sender.dataset.address);
}
