package execwrap

// stamp is a moment, in milliseconds since 1970, as a log has it.
func stamp(ms int64) string {
	days, rest := ms/86_400_000, ms%86_400_000
	// The calendar in eras of 400 years that begin in March, so that the day a leap
	// year has more is the last of its year.
	days += 719_468
	era := days / 146_097
	day := days % 146_097
	year := (day - day/1460 + day/36_524 - day/146_096) / 365
	day -= 365*year + year/4 - year/100
	month := (5*day + 2) / 153
	day -= (153*month+2)/5 - 1
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	b := digits(nil, year+era*400, 4)
	b = digits(append(b, '-'), month, 2)
	b = digits(append(b, '-'), day, 2)
	b = digits(append(b, 'T'), rest/3_600_000, 2)
	b = digits(append(b, ':'), rest/60_000%60, 2)
	b = digits(append(b, ':'), rest/1000%60, 2)
	b = digits(append(b, '.'), rest%1000, 3)
	return string(append(b, 'Z'))
}

// digits appends n with zeros in front of it.
func digits(b []byte, n int64, width int) []byte {
	for unit := [...]int64{1, 10, 100, 1000}[width-1]; unit > 0; unit /= 10 {
		b = append(b, byte('0'+n/unit%10))
	}
	return b
}

// quoted is text as a JSON string.
func quoted(text string) string {
	const hex = "0123456789abcdef"
	b := []byte{'"'}
	for _, r := range text { // what is no UTF-8 comes as the replacement character
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return string(append(b, '"'))
}
