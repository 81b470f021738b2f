// Asks from inside a namespace and prints the answers as JSON: ask.ts 'METHOD URL'…
import { get } from '../helpers/client.ts';

const answers = [];
for (const question of process.argv.slice(2)) {
  const [method = '', url = ''] = question.split(' ');
  const { status, headers, body } = await get(url, { method });
  answers.push({ status, headers, body: body.toString() });
}
process.stdout.write(JSON.stringify(answers));
