import type { Argument, Command, Option } from 'commander';
import { EXIT_CODE, type CommandContext, type CommandOptions } from './command-context.ts';

export type Shell = 'bash' | 'zsh' | 'fish';

/** Prints what has a shell complete the lines of this program. */
export function printCompletion(
  program: Command,
  shell: Shell,
  { stdout }: Pick<CommandContext, 'stdout'>,
  { json }: CommandOptions = {},
): number {
  const script = SCRIPTS[shell](placesOf(program));
  stdout.write(json ? `${JSON.stringify({ shell, script }, undefined, 2)}\n` : script);
  return EXIT_CODE.ok;
}

/** A command, and what may be written behind it. */
interface Place {
  /** `entrepot sync plan` */
  readonly path: string;
  readonly commands: readonly Command[];
  readonly options: readonly Option[];
  /** Of its arguments. */
  readonly choices: readonly string[];
}

function placesOf(command: Command, above = ''): Place[] {
  const path = `${above}${command.name()}`;
  const help = command.createHelp();
  // Help is the one that commander adds; it has no arguments to complete.
  const commands = help.visibleCommands(command);
  const choices = command.registeredArguments.flatMap(
    ({ argChoices = [] }: Argument) => argChoices,
  );
  const place = { path, commands, options: help.visibleOptions(command), choices };
  return [place, ...command.commands.flatMap((below) => placesOf(below, `${path} `))];
}

const SCRIPTS: Readonly<Record<Shell, (places: readonly Place[]) => string>> = {
  bash: (places) => `# In ~/.bashrc: source <(entrepot completion bash)
_entrepot() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} place=entrepot found=() i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$place \${COMP_WORDS[i]}" in
      ${pathsOf(places)}) place="$place \${COMP_WORDS[i]}" ;;
    esac
  done
${casesOf(places, { files: 'mapfile -t COMPREPLY < <(compgen -f -- "$word"); return', none: 'return' })}
  COMPREPLY=($(compgen -W "\${found[*]}" -- "$word"))
}
complete -o filenames -F _entrepot entrepot
`,
  // `words`, `CURRENT` and `compadd` are the shell's.
  zsh: (places) => `#compdef entrepot
# In ~/.zshrc, after compinit: source <(entrepot completion zsh)
_entrepot() {
  local word=\${words[CURRENT]} before=\${words[CURRENT-1]} place=entrepot each
  local -a found
  for each in "\${(@)words[2,CURRENT-1]}"; do
    case "$place $each" in
      (${pathsOf(places)}) place="$place $each" ;;
    esac
  done
${casesOf(places, { files: '_files; return', none: 'return' })}
  compadd -- "\${found[@]}"
}
(( $+functions[compdef] )) && compdef _entrepot entrepot
`,
  fish: (
    places,
  ) => `# In ~/.config/fish/completions/entrepot.fish, or: entrepot completion fish | source
function __entrepot_place
  set -l place entrepot
  for each in (commandline -opc)[2..]
    contains -- "$place $each" ${pathsOf(places).replaceAll('|', ' ')}; and set place "$place $each"
  end
  test "$place" = "$argv[1]"
end
complete -c entrepot -f
${places.map(fishLinesOf).join('')}`,
};

function pathsOf(places: readonly Place[]): string {
  return places.map(({ path }) => `'${path}'`).join('|');
}

/** Fills `found` with what fits at the word, or ends with files or nothing. */
function casesOf(places: readonly Place[], ends: { files: string; none: string }): string {
  const values = places.flatMap(({ path, options }) =>
    options.filter(takesValue).map((option) => {
      const names = [option.short, option.long].filter((name) => name !== undefined);
      const patterns = names.map((name) => `'${path} ${name}'`).join('|');
      const what = option.argChoices
        ? `found=(${option.argChoices.join(' ')})`
        : takesFile(option)
          ? ends.files
          : ends.none;
      return `    (${patterns}) ${what} ;;\n`;
    }),
  );
  const words = places.map(({ path, commands, options, choices }) => {
    const flags = options.map(({ long, short }) => long ?? short).join(' ');
    const others = [...commands.map((command) => command.name()), ...choices].join(' ');
    return `      ('${path}') [[ $word == -* ]] && found=(${flags}) || found=(${others}) ;;\n`;
  });
  return `  case "$place $before" in\n${values.join('')}    (*) case "$place" in\n${words.join('')}    esac ;;\n  esac`;
}

function fishLinesOf({ path, commands, options, choices }: Place): string {
  const at = `complete -c entrepot -n "__entrepot_place '${path}'"`;
  return [
    ...commands.map((each) => `${at} -a ${each.name()} -d ${quoted(each.description())}\n`),
    ...choices.map((choice) => `${at} -a ${choice}\n`),
    ...options.map((option) => {
      const { long, short, description, argChoices } = option;
      const names = [
        ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
        ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
      ].join(' ');
      const value = !takesValue(option)
        ? ''
        : argChoices
          ? ` -x -a '${argChoices.join(' ')}'`
          : takesFile(option)
            ? ' -r -F'
            : ' -x';
      return `${at} ${names}${value} -d ${quoted(description)}\n`;
    }),
  ].join('');
}

function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, String.raw`\$&`)}'`;
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional;
}

function takesFile({ flags }: Option): boolean {
  return /<(?:file|dir|folder)>/i.test(flags);
}
