import {
  GetObjectCommand,
  NoSuchKey,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';

export interface StoredText {
  readonly text: string;
  /** The version that was read. */
  readonly etag: string | undefined;
}

/** Another writer came first. */
export class ConflictError extends Error {
  override readonly name = 'ConflictError';
}

/** The texts in a bucket. */
export class FleetBucket {
  readonly #client = new S3Client({});
  readonly #bucket: string;

  constructor(bucket: string) {
    this.#bucket = bucket;
  }

  /** @returns undefined if there is none of this key */
  async read(key: string): Promise<StoredText | undefined> {
    try {
      const { Body, ETag } = await this.#client.send(new GetObjectCommand({ Bucket: this.#bucket, Key: key }));
      return { text: (await Body?.transformToString()) ?? '', etag: ETag };
    } catch (error) {
      if (error instanceof NoSuchKey) {
        return undefined;
      }
      throw error;
    }
  }

  async list(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    for await (const { Contents = [] } of paginateListObjectsV2(
      { client: this.#client },
      { Bucket: this.#bucket, Prefix: prefix },
    )) {
      keys.push(...Contents.flatMap(({ Key }) => Key ?? []));
    }
    return keys;
  }

  /** Reads many texts, some at a time. */
  async readAll(keys: readonly string[]): Promise<string[]> {
    const texts: string[] = [];
    const left = keys.values();
    const worker = async () => {
      for (const key of left) {
        const { text = '' } = (await this.read(key)) ?? {};
        texts.push(text);
      }
    };
    await Promise.all(Array.from({ length: READ_AT_ONCE }, worker));
    return texts;
  }

  async write(key: string, text: string): Promise<void> {
    await this.#put(key, text, {});
  }

  /**
   * Replaces the version that was read, or nothing if there was none.
   *
   * @throws ConflictError if another version is there by now
   */
  async replace(key: string, before: StoredText | undefined, text: string): Promise<void> {
    const condition = before?.etag === undefined ? { IfNoneMatch: '*' } : { IfMatch: before.etag };
    try {
      await this.#put(key, text, condition);
    } catch (error) {
      if (error instanceof S3ServiceException && [409, 412].includes(error.$metadata.httpStatusCode ?? 0)) {
        throw new ConflictError(`another version of ${key} was written meanwhile`, { cause: error });
      }
      throw error;
    }
  }

  async #put(key: string, text: string, condition: { IfMatch?: string; IfNoneMatch?: string }): Promise<void> {
    await this.#client.send(
      new PutObjectCommand({
        Bucket: this.#bucket,
        Key: key,
        Body: text,
        ContentType: 'application/json',
        ...condition,
      }),
    );
  }
}

/** As many connections as the SDK keeps. */
const READ_AT_ONCE = 50;
