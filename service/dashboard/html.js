// The one door to Preact, htm and signals: everything else imports them from here.
import { h, render, Fragment } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { signal, computed, effect, batch } from "./vendor/signals.js";
export { useState, useEffect, useRef, useMemo, useCallback, useLayoutEffect } from "./vendor/hooks.js";
export const html = htm.bind(h);
export { render, Fragment };
