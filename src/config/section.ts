import { z } from 'zod';
import { ConfigError } from './config-error.ts';

/** A map of which every key has a default: absent, empty and `~` are the same. */
export function section<T extends z.ZodRawShape>(shape: T) {
  const inner = z.strictObject(shape);
  return inner.nullish().transform((value) => value ?? inner.parse({}));
}

/** A step that leaves a text as it is, when it can be parsed. */
export function checked(parse: (text: string) => unknown) {
  return converted((text: string) => {
    parse(text);
    return text;
  });
}

/** A step that turns what stands in the file into what the program uses. */
export function converted<I, O>(convert: (value: I) => O) {
  return (value: I, context: z.RefinementCtx<I>): O => {
    try {
      return convert(value);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const message of error.problems) context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
  };
}
