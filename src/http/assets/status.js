// Follows an order on its pages: server-sent events, and polling where they do not come through.
(function () {
  "use strict";
  var box = document.querySelector("[data-order]");
  if (!box || !box.dataset.order) return;
  var address = "/payment/status/" + encodeURIComponent(box.dataset.order) + "/";
  // CinetPay posts its way back here. As a GET the page can be reloaded, reopened and gone back to.
  if (!box.dataset.home && history.replaceState) {
    history.replaceState(null, "", "/payment/return/?transaction_id=" + encodeURIComponent(box.dataset.order));
  }
  var POLL_MILLIS = 3000;
  // After a refusal a late confirmation may still come, and the page is told of it.
  var LATE_MILLIS = 30000;
  var POLLS_MAX = 1000;
  var polls = 0;
  var timer = 0;

  function has(list, word) { return list.split(" ").indexOf(word) >= 0; }

  // Shows what belongs to a state; gives the milliseconds until it is worth another look, 0 for never.
  function show(state) {
    var name = state.status === "PAID" && state.delivered ? "DELIVERED" : state.status;
    if (name === "CREATED" || name === "PENDING") name = "WAITING";
    // An order's page gets its buttons from the server.
    if (box.dataset.home && box.dataset.shown !== name) return location.reload(), 0;
    document.querySelectorAll("[data-for]").forEach(function (part) { part.hidden = !has(part.dataset.for, name); });
    var reasons = box.querySelectorAll("[data-code]"), known = false;
    reasons.forEach(function (part) {
      part.hidden = !has(part.dataset.code, state.code || "");
      known = known || !part.hidden;
    });
    if (!known && reasons.length) reasons[reasons.length - 1].hidden = false;
    if (!state.final) return POLL_MILLIS;
    return name === "FAILED" || name === "EXPIRED" || name === "REVIEW" ? LATE_MILLIS : 0;
  }

  function later(millis) {
    clearTimeout(timer);
    if (millis && polls < POLLS_MAX) timer = setTimeout(poll, millis);
  }

  function poll() {
    polls += 1;
    fetch(address, { headers: { Accept: "application/json" }, cache: "no-store" })
      .then(function (answer) { return answer.ok ? answer.json() : null; })
      .catch(function () { return null; })
      .then(function (state) { later(state ? show(state) : Math.min(POLL_MILLIS * polls, LATE_MILLIS)); });
  }

  function follow() {
    if (!window.EventSource) return poll();
    var source = new EventSource(address);
    source.onmessage = function (message) {
      var state = JSON.parse(message.data), wait = show(state);
      if (state.final) { source.close(); later(wait); }
    };
    source.onerror = function () { source.close(); later(POLL_MILLIS); };
  }

  // A telephone that slept missed what happened.
  document.addEventListener("visibilitychange", function () { if (!document.hidden && timer) later(1); });
  window.addEventListener("pageshow", function (event) { if (event.persisted) poll(); });
  follow();
})();
