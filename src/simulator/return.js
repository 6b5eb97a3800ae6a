// Goes back to the merchant by itself, as the real page does. The button does the same without scripts.
const form = document.getElementById("return");
const delay = Number(form?.dataset.delayMs ?? 0);
if (form && delay > 0) setTimeout(() => form.submit(), delay);
