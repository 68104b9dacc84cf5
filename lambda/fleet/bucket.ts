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

/** The texts in a bucket. */
export class FleetBucket {
  readonly #client = new S3Client({});
  readonly #bucket: string;

  constructor(bucket: string) {
    this.#bucket = bucket;
  }

  /** @returns undefined if the key does not exist */
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
    const pages = paginateListObjectsV2({ client: this.#client }, { Bucket: this.#bucket, Prefix: prefix });
    for await (const { Contents = [] } of pages) {
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
        texts.push((await this.read(key))?.text ?? '');
      }
    };
    await Promise.all(Array.from({ length: READ_AT_ONCE }, worker));
    return texts;
  }

  async write(key: string, text: string, condition: { IfMatch?: string; IfNoneMatch?: string } = {}): Promise<void> {
    const object = { Bucket: this.#bucket, Key: key, Body: text, ContentType: 'application/json' };
    await this.#client.send(new PutObjectCommand({ ...object, ...condition }));
  }

  /**
   * Replaces the version that was read, or nothing if there was none.
   *
   * @returns `false` if another version has been written since
   */
  async replace(key: string, before: StoredText | undefined, text: string): Promise<boolean> {
    try {
      await this.write(key, text, before?.etag === undefined ? { IfNoneMatch: '*' } : { IfMatch: before.etag });
      return true;
    } catch (error) {
      if (error instanceof S3ServiceException && [409, 412].includes(error.$metadata.httpStatusCode ?? 0)) {
        return false;
      }
      throw error;
    }
  }
}

/** As many connections as the SDK keeps. */
const READ_AT_ONCE = 50;
