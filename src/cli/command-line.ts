import {
  Command,
  InvalidArgumentError,
  type Argument,
  type HelpContext,
  type Option,
  type OptionValues,
} from 'commander';
import { findNear } from '../config/spelling.ts';
import { count } from './format.ts';
import { TEXTS } from './texts.ts';

/** What is wrong with a command line, and which command says so. */
export interface LineProblem {
  readonly command: CommandLine;
  readonly text: string;
}

type Check = (args: readonly string[], options: OptionValues) => string | undefined;

/**
 * A command that finds all that is wrong with its line, where commander ends at the first: its methods
 * that would end are called by their names here, and go on. Nobody may act while there are `problems`.
 */
export class CommandLine extends Command {
  /** Of the whole line. */
  readonly problems: LineProblem[];
  #examples: readonly string[] = [];

  constructor(name?: string, problems: LineProblem[] = []) {
    super(name);
    this.problems = problems;
  }

  override createCommand(name?: string): CommandLine {
    return new CommandLine(name, this.problems);
  }

  /** `entrepot sync plan` */
  get path(): string {
    return this.parent instanceof CommandLine ? `${this.parent.path} ${this.name()}` : this.name();
  }

  get examples(): readonly string[] {
    return this.#examples;
  }

  /** Lines as they are typed, shown below the help. */
  withExamples(...lines: readonly string[]): this {
    this.#examples = lines;
    const title = (): string => this.createHelp().styleTitle('Examples:');
    return this.addHelpText('after', () => `\n${title()}\n  ${lines.join('\n  ')}`);
  }

  /** Adds what must hold between arguments and options; the check gives what does not. */
  requires(load: () => Promise<Check>): this {
    return this.hook('preAction', async () => {
      const check = await load();
      const problem = check(this.args, this.opts());
      if (problem !== undefined) this.#tell(problem);
    });
  }

  override addOption(option: Option): this {
    return super.addOption(this.#goingOn(option, option.long ?? option.flags));
  }

  override addArgument(argument: Argument): this {
    return super.addArgument(this.#goingOn(argument, argument.name()));
  }

  /** A value that cannot be read is a problem, and no end of the line. */
  #goingOn<Value extends Option | Argument>(value: Value, name: string): Value {
    const { parseArg } = value;
    if (!parseArg) return value;
    value.parseArg = <T>(text: string | undefined, previous: T): T => {
      // That there is none has been told.
      if (text === undefined) return previous;
      try {
        return parseArg.call(value, text, previous) as T;
      } catch (error) {
        if (!(error instanceof InvalidArgumentError)) throw error;
        const { argChoices } = value;
        const remedy = argChoices ? TEXTS.oneOf({ words: argChoices.join(', ') }) : error.message;
        this.#tell(TEXTS.badValue({ name, value: text, remedy }));
        return previous;
      }
    };
    return value;
  }

  override help(context?: HelpContext | ((text: string) => string)): never {
    const isAsked = this.problems.length === 0;
    return isAsked ? super.help(context as HelpContext) : (undefined as never);
  }

  /** Also tells of those behind the first, and passes over a value that belongs to one. */
  unknownOption(): void {
    const rest: string[] = [];
    const words = this.args.values();
    for (const word of words) {
      if (!/^-./.test(word)) {
        rest.push(word);
        continue;
      }
      const near = this.#adviseOption(word.replace(/=.*/, ''));
      if (near?.required && !word.includes('=')) words.next();
    }
    this.args = rest;
  }

  /** The option that is likely meant. */
  #adviseOption(name: string): Option | undefined {
    // A command that the option stands before.
    const below = this.commands.find((command) => this.args.includes(command.name()));
    if (below && optionsOf(below).some(({ long }) => long === name)) {
      this.#tell(TEXTS.optionBefore({ name, path: `${this.path} ${below.name()}` }));
      return undefined;
    }
    const known = optionsOf(this);
    const near = findNear(
      name,
      known.flatMap(({ long }) => long ?? []),
    );
    const { path } = this;
    this.#tell(
      near === undefined ? TEXTS.unknownOption({ name, path }) : TEXTS.nearOption({ name, near }),
    );
    return known.find(({ long }) => long === near);
  }

  unknownCommand(): void {
    const [name = ''] = this.args;
    const near = findNear(
      name,
      this.commands.map((command) => command.name()),
    );
    const { path } = this;
    this.#tell(
      near === undefined
        ? TEXTS.unknownCommand({ name, path })
        : TEXTS.nearCommand({ name, near: `${path} ${near}` }),
    );
  }

  missingArgument(name: string): void {
    this.#tell(TEXTS.missingArgument({ name, path: this.path }));
  }

  optionMissingArgument({ flags }: Option): void {
    this.#tell(TEXTS.missingValue({ flags }));
  }

  missingMandatoryOptionValue({ flags, description }: Option): void {
    this.#tell(TEXTS.missingOption({ flags, description }));
  }

  _excessArguments(words: readonly string[]): void {
    const { length } = this.registeredArguments;
    const most = length === 0 ? 'no arguments' : `${count(length, 'argument')} at most`;
    for (const word of words.slice(length))
      this.#tell(TEXTS.tooMany({ word, path: this.path, most }));
  }

  #tell(text: string): void {
    this.problems.push({ command: this, text });
  }
}

function optionsOf(command: Command): Option[] {
  return command.createHelp().visibleOptions(command);
}
