// "/" puts the cursor into the search box, as on most sites that are searched often.
document.addEventListener("keydown", (event) => {
  const box = document.querySelector('.ms-form input[name="q"]');
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && box && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    box.focus();
    box.select();
  }
});
