/* not there yet */ extern int kf_empty_unit;
