// Which settings hold: the user's own. VS Code before it filtered nested keys took those of a folder
// for any setting that was written as {"liveweights": {...}} there.

/** What VS Code knows of one setting; it knows of others' values, too, which are passed over. */
export interface Known {
  defaultValue?: unknown;
  globalValue?: unknown;
}

/** Each of `names` as the user has it, else as declared; what nobody declared is left out. */
export function readOwn(
  names: readonly string[],
  inspect: (name: string) => Known | undefined,
): Record<string, unknown> {
  const own = names.map((name) => {
    const known = inspect(name);
    return [name, known?.globalValue ?? known?.defaultValue] as const;
  });
  return Object.fromEntries(own.filter(([, value]) => value !== undefined));
}
