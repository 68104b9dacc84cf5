import { parseOptions } from './options';

const SECTIONS = ['throughput', 'service'];

function parse(...args: string[]) {
  return parseOptions(args, SECTIONS);
}

test('reads the sections to run and the files to write', () => {
  expect(
    parse('--only', 'service', '--contender', 'River', '--contender', 'Hydra', '--svg', 'a.svg', '--json'),
  ).toEqual({
    scale: expect.objectContaining({ rounds: 3 }),
    only: ['service'],
    contenders: ['River', 'Hydra'],
    json: true,
    svg: 'a.svg',
  });
  expect(parse('-h')).toBe('help');
});

test('lets a number of rounds hold for every section', () => {
  expect(parse('--large', '--rounds', '2')).toMatchObject({ scale: { rounds: 2, serviceRounds: 2 } });
});

test.each([
  [
    ['--rows', '10', '--rounds', '0'],
    '--rounds must be a whole number, at least 1, got "0"\n--rows must be a whole number, at least 1000, got "10"',
  ],
  [['--quick', '--large'], '--quick and --large exclude each other'],
  [['--only', 'speed'], '--only must be one of throughput, service, got "speed"'],
  [['--only', 'throughput', '--svg', 'a.svg'], '--svg shows the section service, which --only leaves out'],
  [['--quik'], '--quik is not an option (did you mean --quick?)'],
  [['--rows', '1000', '--rows', '2000'], '--rows is given twice'],
  [['quick'], 'unexpected argument: use --only SECTION for a section'],
])('refuses %j', (args, message) => {
  expect(() => parse(...args)).toThrow(expect.objectContaining({ name: 'InvalidInputError', message }));
});
