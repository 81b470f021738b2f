import { z } from 'zod';
import { configSchema } from './schema.ts';

/** The JSON Schema of the file as an operator writes it, for editors. */
export function configJsonSchema() {
  const schema = configSchema({ directory: '.', env: {} }).meta({
    title: 'Entrepot',
    description: 'Configuration of Entrepot, a caching mirror of container registries.',
  });
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      // A key that must be absent: JSON Schema has no other word for it.
      if (zodSchema instanceof z.ZodUndefined) jsonSchema.not = {};
    },
  });
}
