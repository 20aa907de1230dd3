// Profiles in pprof format: read and written as another implementation does, and their difference.

import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';
import { Profile as Reference } from 'pprof-format';
import { diff } from '../src/profile/diff.js';
import { type Profile, readProfile, writeProfile } from '../src/profile/pprof.js';
import * as tools from './fixtures-ts/tools.js';
import { deep, hostile, profileOf, shop, shopBefore, wide } from './support/profiles.js';
import { describe, test } from './support/suite.js';

const MIB = 2 ** 20;

const CASES = {
  shop: shop(),
  hostile: hostile(),
  deep: deep(500),
  wide: wide(2000),
  nothing: [],
  negative: [{ ...shop()[0]!, bytes: -5 * MIB, values: [-1, -(2 ** 40), -3, -(2 ** 52)] }],
  'no frames': [{ frames: [], bytes: 1 }],
};

/** What a profile says, without numbers that refer to something. */
function said(profile: Profile): unknown {
  return {
    ...profile,
    samples: profile.samples.map(({ stack, values, labels }) => ({
      stack: stack.map(({ mapping, address, lines, isFolded }) => [
        mapping?.file,
        mapping?.buildId,
        mapping?.start,
        address,
        isFolded,
        lines.map(({ function: called, line }) => [called.name, called.file, line]),
      ]),
      values,
      labels,
    })),
  };
}

/** The same of what another implementation reads. */
function referenceOf(bytes: Uint8Array): unknown {
  const profile = Reference.decode(gunzipSync(bytes));
  const text = (at: number | bigint) => profile.stringTable.strings[Number(at)] ?? '';
  const byId = <Entry extends { id: number | bigint }>(all: readonly Entry[]) =>
    new Map(all.map((each) => [Number(each.id), each]));
  const [mappings, functions, locations] = [
    byId(profile.mapping),
    byId(profile.function),
    byId(profile.location),
  ];
  return profile.sample.map(({ locationId, value, label }) => ({
    stack: locationId.map((id) => {
      const { mappingId, address, line } = locations.get(Number(id))!;
      const mapping = mappings.get(Number(mappingId));
      return [
        mapping && text(mapping.filename),
        mapping && text(mapping.buildId),
        mapping && BigInt(mapping.memoryStart),
        BigInt(address),
        false,
        line.map((each) => {
          const called = functions.get(Number(each.functionId))!;
          return [text(called.name), text(called.filename), Number(each.line)];
        }),
      ];
    }),
    values: value.map((each) => Number(BigInt.asIntN(64, BigInt(each)))),
    labels: label.map((each) => ({ key: text(each.key), text: text(each.str), number: 0, unit: '' })),
  }));
}

describe('a profile', () => {
  for (const [name, stacks] of Object.entries(CASES))
    test(`of ${name} is read and written as pprof-format does`, () => {
      const bytes = profileOf(stacks);
      const profile = readProfile(bytes);
      assert.deepEqual((said(profile) as Profile).samples, referenceOf(bytes));
      const again = writeProfile(profile);
      assert.deepEqual(said(readProfile(again)), said(profile));
      assert.deepEqual(referenceOf(again), referenceOf(bytes));
      assert.deepEqual(profile.sampleTypes[3], { type: 'inuse_space', unit: 'bytes' });
      assert.deepEqual(
        [profile.period, profile.duration, profile.comments, profile.defaultType],
        [524_288, 30_000_000_000n, ['glibc 2.36'], 'inuse_space'],
      );
    });

  test('is read without compression, too', () => {
    const plain = profileOf(shop(), { compressed: false });
    assert.deepEqual(said(readProfile(plain)), said(readProfile(profileOf(shop()))));
  });

  test('that is none is refused, and says why and what to do', () => {
    const cases: [unknown, RegExp][] = [
      [new Uint8Array(), /it has no sample types/],
      [Buffer.from('{"nodes": []}'), /no profile in pprof format/],
      [Buffer.from([0x1f, 0x8b, 1, 2]), /no profile in pprof format/],
      [profileOf(shop(), { compressed: false }).subarray(0, 700), /./],
      [Buffer.from([0x0a, 0x04, 0x08, 0x63, 0x10, 0x64]), /it refers to text 99, which it does not have/],
    ];
    for (const [bytes, pattern] of cases) {
      const remedy = /^heap\.pb\.gz is no profile .*; pass what heapProfile\.stop\(\) gives/;
      tools.refuses(
        () => readProfile(bytes as Uint8Array, 'heap.pb.gz'),
        'ERR_PROFILE_INVALID',
        pattern,
        remedy,
      );
    }
    tools.refuses(() => readProfile('x' as never), 'ERR_INVALID_ARGUMENT', /must be a Uint8Array, not "x"/);
  });

  test('that is damaged at any place is read or refused', () => {
    const bytes = profileOf(shop(), { compressed: false });
    let refused = 0;
    const attempt = (damaged: Uint8Array) => {
      try {
        readProfile(damaged);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'ERR_PROFILE_INVALID', String(error));
        refused += 1;
      }
    };
    for (let at = 0; at < bytes.length; at++) {
      attempt(bytes.subarray(0, at));
      const flipped = Uint8Array.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      attempt(flipped);
    }
    assert.ok(refused > bytes.length, `${refused} of ${2 * bytes.length}`);
  });
});

/** The bytes in use of each stack, by its innermost names. */
function inUse(bytes: Uint8Array): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { stack, values } of readProfile(bytes).samples) {
    const name = stack
      .flatMap(({ lines, mapping }) => lines.map((line) => line.function.name || mapping?.file))
      .slice(0, 4)
      .join(' ← ');
    sums.set(name, (sums.get(name) ?? 0) + values[3]!);
  }
  return sums;
}

describe('the difference of two profiles', () => {
  test('has what grew, what shrank, what is new and what is gone, and not what is the same', () => {
    const changes = inUse(diff(profileOf(shopBefore()), profileOf(shop())));
    const of = (part: string) => [...changes].find(([name]) => name.includes(part))?.[1];
    assert.equal(of('keep'), 38 * MIB - Math.round(3.8 * MIB));
    assert.equal(of('vips'), -9 * MIB);
    assert.equal(of('job'), -9 * MIB);
    assert.equal(changes.size, 3);
  });

  test('of the same program in two processes does not depend on where its files are mapped', () => {
    const [one, other] = [profileOf(shop()), profileOf(shop(), { base: 0x5500_0000_0000n })];
    assert.deepEqual(inUse(diff(one, other)), new Map());
    const grown = inUse(diff(one, profileOf(shop(2), { base: 0x5500_0000_0000n })));
    assert.deepEqual([...grown.values()], [38 * MIB]);
  });

  test('of profiles whose samples are in another order is nothing', () => {
    assert.equal(
      readProfile(diff(profileOf(wide(300)), profileOf(wide(300).toReversed()))).samples.length,
      0,
    );
  });

  test('is read by another implementation', () => {
    const bytes = diff(profileOf(shopBefore()), profileOf(shop()));
    assert.deepEqual((said(readProfile(bytes)) as Profile).samples, referenceOf(bytes));
  });

  test('of different kinds is refused', () => {
    const cpu = profileOf([{ ...shop()[0]!, values: [1, 2] }], {
      types: [
        ['samples', 'count'],
        ['cpu', 'nanoseconds'],
      ],
    });
    tools.refuses(
      () => diff(cpu, profileOf(shop())),
      'ERR_PROFILE_INVALID',
      /one has samples \(count\), cpu \(nanoseconds\), and the other one has alloc_/,
    );
  });
});
