import assert from "node:assert/strict";
import { test } from "node:test";

import { readOwn } from "./settings";

const DECLARED: Record<string, unknown> = { consent: false, url: "http://here", exclude: [".env"] };

/** As VS Code says it where a folder's settings were let through. */
function inspect(user: Record<string, unknown>, folder: Record<string, unknown>) {
  return (name: string) => ({
    key: `liveweights.${name}`,
    defaultValue: DECLARED[name],
    globalValue: user[name],
    workspaceValue: folder[name],
    workspaceFolderValue: folder[name],
  });
}

test("a folder decides nothing", () => {
  const folder = { consent: true, url: "http://evil", exclude: [], trace: { server: "verbose" } };
  const names = Object.keys(DECLARED);
  assert.deepEqual(readOwn(names, inspect({}, folder)), DECLARED);
  const user = { consent: true, url: "http://mine" };
  assert.deepEqual(readOwn(names, inspect(user, folder)), { ...DECLARED, ...user });
});

test("the user's own hold also where they are false, empty or 0", () => {
  const user = { consent: false, url: "", exclude: [] };
  assert.deepEqual(readOwn(Object.keys(user), inspect(user, {})), user);
});

test("what nobody declared is left out", () => {
  assert.deepEqual(readOwn(["unknown"], () => undefined), {});
  assert.deepEqual(readOwn(["unknown"], inspect({}, { unknown: 1 })), {});
});
