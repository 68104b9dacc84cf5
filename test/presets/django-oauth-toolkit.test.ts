import { useDatabase } from '../support/database';
import { CLEANER, ROWS, TABLES } from './oauth-toolkit';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

cleansLikeTheSystem(database, 'django-oauth-toolkit', {
  given: { refreshTokenExpire: '14d' },
  tables: TABLES,
  rows: ROWS,
  cleaner: CLEANER,
});
