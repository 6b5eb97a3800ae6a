// Follows an order on the waiting page: server-sent events, and polling where they do not come through.
(function () {
  "use strict";
  var box = document.getElementById("status");
  if (!box || !box.dataset.order) return;
  var address = "/payment/status/" + encodeURIComponent(box.dataset.order) + "/";
  var POLL_MILLIS = 3000;
  var POLLS_MAX = 200;
  var polls = 0;

  // Shows the text of a state; says whether there is nothing more to wait for.
  function show(state) {
    var name = state.status === "PAID" && state.delivered ? "DELIVERED" : state.status;
    if (name === "CREATED" || name === "PENDING") name = "WAITING";
    box.querySelectorAll("[data-for]").forEach(function (text) {
      text.hidden = text.dataset.for !== name;
    });
    return Boolean(state.final);
  }

  function poll() {
    polls += 1;
    if (polls > POLLS_MAX) return;
    fetch(address, { headers: { Accept: "application/json" }, cache: "no-store" })
      .then(function (answer) { return answer.ok ? answer.json() : null; })
      .catch(function () { return null; })
      .then(function (state) {
        if (!state || !show(state)) setTimeout(poll, POLL_MILLIS);
      });
  }

  if (!window.EventSource) return poll();
  var source = new EventSource(address);
  source.onmessage = function (message) {
    if (show(JSON.parse(message.data))) source.close();
  };
  source.onerror = function () {
    source.close();
    setTimeout(poll, POLL_MILLIS);
  };
})();
