// Package main links a whole Kubernetes control plane into one program, so that tests can run a
// real API server on a machine without containers: one build, one file, one page cache for all.
//
// The component is chosen by the name under which the program is called (a symlink), or else by
// its first argument: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // time zones of CronJobs, on machines without tzdata

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// components is what this program can be. Each reads os.Args as if it were a program of its own,
// and returns its exit code.
var components = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllers.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":                 runKubectl,
	"kwok":                    runKwok,
	"kwok-stages":             printKwokStages,
}

func main() {
	name, args := component(os.Args)
	run, known := components[name]
	if !known {
		names := strings.Join(slices.Sorted(maps.Keys(components)), ", ")
		fmt.Fprintf(os.Stderr, "%q is none of the components: %s\n", name, names)
		os.Exit(2)
	}
	// The components derive their user agent from their own name.
	os.Args = append([]string{name}, args...)
	endWithStandardInput()
	os.Exit(run())
}

// component tells which component a command line asks for, and the arguments it leaves to it.
func component(argv []string) (string, []string) {
	own := filepath.Base(argv[0])
	if _, known := components[own]; known {
		return own, argv[1:]
	}
	if len(argv) < 2 {
		return "", nil
	}
	return argv[1], argv[2:]
}

func runKubectl() int {
	// kubectl builds its command, plugins and settings included, before flags are parsed, and
	// wants its verbosity by then.
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints, and exits
	}
	return 0
}
