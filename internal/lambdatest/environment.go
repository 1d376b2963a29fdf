//go:build linux

package lambdatest

import (
	"fmt"
	"strconv"
	"strings"
)

// reserved are the names that nobody may configure; Lambda refuses a function
// that has them. Names with a leading underscore are Lambda's too.
var reserved = map[string]bool{
	"AWS_DEFAULT_REGION": true, "AWS_REGION": true, "AWS_EXECUTION_ENV": true,
	"AWS_LAMBDA_FUNCTION_NAME": true, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": true, "AWS_LAMBDA_FUNCTION_VERSION": true,
	"AWS_LAMBDA_INITIALIZATION_TYPE": true, "AWS_LAMBDA_LOG_GROUP_NAME": true, "AWS_LAMBDA_LOG_STREAM_NAME": true,
	"AWS_ACCESS_KEY": true, "AWS_ACCESS_KEY_ID": true, "AWS_SECRET_ACCESS_KEY": true, "AWS_SESSION_TOKEN": true,
	"AWS_LAMBDA_RUNTIME_API": true, "AWS_LAMBDA_MAX_CONCURRENCY": true,
	"AWS_CONTAINER_CREDENTIALS_FULL_URI": true, "AWS_CONTAINER_AUTHORIZATION_TOKEN": true,
	"LAMBDA_TASK_ROOT": true, "LAMBDA_RUNTIME_DIR": true,
}

// configured checks what was configured for the function as Lambda does.
func configured(env []string) error {
	size := 0
	for _, e := range env {
		name, value, ok := strings.Cut(e, "=")
		switch {
		case !ok || name == "":
			return fmt.Errorf("%q is no variable", name)
		case reserved[name] || strings.HasPrefix(name, "_"):
			return fmt.Errorf("%s is Lambda's own and cannot be configured", name)
		}
		size += len(name) + len(value)
	}
	if size > maxEnv {
		return fmt.Errorf("the variables take %d bytes, more than Lambda's %d", size, maxEnv)
	}
	return nil
}

// runtimeEnviron is the environment of the function's process.
func (p *Platform) runtimeEnviron() []string {
	o := p.o
	env := []string{
		"AWS_LAMBDA_FUNCTION_NAME=" + functionName,
		"AWS_LAMBDA_FUNCTION_VERSION=" + functionVersion,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(o.Memory),
		"AWS_LAMBDA_INITIALIZATION_TYPE=" + o.InitType,
		"AWS_LAMBDA_RUNTIME_API=" + p.addr,
		"AWS_REGION=" + o.Region,
		"AWS_DEFAULT_REGION=" + o.Region,
		"PATH=/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"LD_LIBRARY_PATH=/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
		"LANG=en_US.UTF-8",
		"TZ=:UTC",
		"AWS_LAMBDA_LOG_GROUP_NAME=" + logGroup,
		"AWS_LAMBDA_LOG_STREAM_NAME=2026/01/01/[$LATEST]0123456789abcdef",
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023",
		"AWS_XRAY_CONTEXT_MISSING=LOG_ERROR",
		"AWS_XRAY_DAEMON_ADDRESS=169.254.79.129:2000",
		"_AWS_XRAY_DAEMON_ADDRESS=169.254.79.129",
		"_AWS_XRAY_DAEMON_PORT=2000",
		"_HANDLER=" + handlerName,
		"LAMBDA_TASK_ROOT=/var/task",
		"LAMBDA_RUNTIME_DIR=/var/runtime",
	}
	if o.InitType == SnapStart {
		env = append(env,
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://"+p.addr+"/2021-04-23/credentials",
			"AWS_CONTAINER_AUTHORIZATION_TOKEN="+p.credentialsToken,
		)
	} else {
		env = append(env,
			"AWS_ACCESS_KEY_ID="+o.Credentials.AccessKeyID,
			"AWS_SECRET_ACCESS_KEY="+o.Credentials.SecretAccessKey,
			"AWS_SESSION_TOKEN="+o.Credentials.SessionToken,
		)
	}
	if o.InitType == ManagedInstances {
		env = append(env, "AWS_LAMBDA_MAX_CONCURRENCY="+strconv.Itoa(o.Concurrency))
	}
	if o.Wrapper != "" {
		env = append(env, "AWS_LAMBDA_EXEC_WRAPPER="+p.wrapper())
	}
	return append(env, o.Env...)
}

// hidden are the names that an extension does not see of its function's
// environment, with what has a leading underscore.
var hidden = map[string]bool{
	"AWS_EXECUTION_ENV": true, "AWS_LAMBDA_LOG_GROUP_NAME": true, "AWS_LAMBDA_LOG_STREAM_NAME": true,
	"AWS_LAMBDA_MAX_CONCURRENCY": true, "LAMBDA_TASK_ROOT": true, "LAMBDA_RUNTIME_DIR": true,
}

// extensionEnviron is the environment of an extension's process.
func (p *Platform) extensionEnviron() []string {
	var env []string
	for _, e := range p.runtimeEnviron() {
		name, _, _ := strings.Cut(e, "=")
		if !hidden[name] && !strings.HasPrefix(name, "_") && !strings.HasPrefix(name, "AWS_XRAY_") {
			env = append(env, e)
		}
	}
	return env
}
