select current_setting('synchronous_commit', true), current_setting('fsync', true)
