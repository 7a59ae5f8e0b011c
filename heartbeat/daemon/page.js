"use strict";
const gone = document.getElementById("gone");
let last = new Date();
async function renew() {
  try {
    const answer = await fetch("/", {cache: "no-store"});
    if (!answer.ok) throw new Error(await answer.text());
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.title = page.title;
    last = new Date();
    gone.style.display = "none";
  } catch (error) {
    gone.textContent = "No answer since " + last.toLocaleTimeString() + ": what follows is old. (" + error.message + ")";
    gone.style.display = "block";
  }
  setTimeout(renew, 2000);
}
setTimeout(renew, 2000);
