/** The best few of many. */

/** Indices of the `count` largest values, largest first; of equal ones the lower index first, as a stable sort has it. */
export function largest(values: ArrayLike<number>, count: number): number[] {
  const found: number[] = [];
  const wanted = Math.min(count, values.length);
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index]!;
    if (found.length === wanted && !(value > values[found[wanted - 1]!]!)) continue;
    let place = found.length;
    while (place > 0 && value > values[found[place - 1]!]!) place -= 1;
    found.splice(place, 0, index);
    if (found.length > wanted) found.pop();
  }
  return found;
}
