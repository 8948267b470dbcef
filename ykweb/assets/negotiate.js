"use strict";
// Tries a Kerberos ticket without a dialog. A browser that was just started may fail the first time, so it is tried twice; without
// a ticket the form stays as it is.
(async () => {
  const form = document.getElementById("negotiate");
  if (!form || new URLSearchParams(location.search).has("quiet")) return;
  const fields = new URLSearchParams(new FormData(form));
  fields.delete("page");
  for (let times = 0; times < 2; times += 1) {
    let answer;
    try {
      answer = await fetch(form.action, { method: "POST", body: fields, credentials: "same-origin", redirect: "manual" });
    } catch {
      continue;
    }
    if (answer.status === 200) {
      fields.delete("word");
      location.replace("/login" + (fields.size ? "?" + fields : ""));
      return;
    }
  }
})();
