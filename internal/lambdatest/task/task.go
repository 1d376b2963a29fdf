// Package task holds the words between a test and the function of lambdatest:
// what an invocation asks for, and what it is answered.
package task

// Task is the event of an invocation. The kinds:
//
//	read   the content, mode and time of the file Path
//	get    Method (GET) of URL with Header and Body, Times (1) in all, Parallel (1) at once
//	env    the function's environment
//	init   what stood in the files LAMBDATEST_INIT_READ names (colon-separated) before main began
//	sleep  for MS milliseconds
//	fail   with the error Text
//	panic  with Text
//	exit   the process, with Code
//	hang   for ever
//	many   Tasks, one after the other
type Task struct {
	Do       string            `json:"do"`
	Path     string            `json:"path,omitempty"`
	URL      string            `json:"url,omitempty"`
	Method   string            `json:"method,omitempty"`
	Header   map[string]string `json:"header,omitempty"`
	Body     string            `json:"body,omitempty"`
	Times    int               `json:"times,omitempty"`
	Parallel int               `json:"parallel,omitempty"`
	MS       int               `json:"ms,omitempty"`
	Code     int               `json:"code,omitempty"`
	Text     string            `json:"text,omitempty"`
	Tasks    []Task            `json:"tasks,omitempty"`
}

// Answer is what the function answers. Error is what went wrong with the task
// itself, such as a file that is not there: the invocation went well.
type Answer struct {
	Text     string              `json:"text,omitempty"`
	Mode     string              `json:"mode,omitempty"`     // of read, "0600"
	Modified int64               `json:"modified,omitempty"` // of read, ns since 1970
	Status   int                 `json:"status,omitempty"`   // of get, of the last one
	Header   map[string][]string `json:"header,omitempty"`   // of get, of the last one
	Statuses map[int]int         `json:"statuses,omitempty"` // of get: how often which; 0 is no answer
	Longest  float64             `json:"longest,omitempty"`  // of get, ms
	Env      map[string]string   `json:"env,omitempty"`
	Files    map[string]Answer   `json:"files,omitempty"` // of init
	PID      int                 `json:"pid,omitempty"`
	Error    string              `json:"error,omitempty"`
	Answers  []Answer            `json:"answers,omitempty"` // of many
}
