-- A role that reads all tables of the warehouse and can change nothing, for dashboards and
-- `partitioned-etl query`. Run it as the role that loads, in the warehouse's database:
--   psql "$WAREHOUSE" -v password=… -f docs/postgresql-reader.sql
CREATE ROLE partitioned_etl_reader LOGIN PASSWORD :'password';
ALTER ROLE partitioned_etl_reader SET default_transaction_read_only = on;
GRANT CONNECT ON DATABASE :"DBNAME" TO partitioned_etl_reader;
GRANT USAGE ON SCHEMA public TO partitioned_etl_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO partitioned_etl_reader;
-- Tables that a later load makes, too.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO partitioned_etl_reader;
