select current_setting('synchronous_standby_names', true), current_setting('synchronous_commit', true)
