package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// advertiseGPUs is a device plugin for GPUs that are not there: the kubelet counts them, the scheduler hands
// them out, and a container learns their names from NVIDIA_VISIBLE_DEVICES as it would with real ones.
func advertiseGPUs() {
	count := flag.Int("count", 4, "devices of the node")
	resource := flag.String("resource", "nvidia.com/gpu", "their name for the scheduler")
	flag.Parse()
	for {
		err := serveDevices(*resource, *count)
		// the kubelet empties the folder of sockets when it starts; then everyone registers again
		log.Printf("registering again: %v", err)
		time.Sleep(time.Second)
	}
}

func serveDevices(resource string, count int) error {
	socket := filepath.Join(api.DevicePluginPath, "fake-gpus.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, &gpus{count: count})
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	defer server.Stop()
	if err := register(resource, filepath.Base(socket)); err != nil {
		return err
	}
	log.Printf("%d × %s", count, resource)
	for {
		select {
		case err := <-failed:
			return err
		case <-time.After(500 * time.Millisecond):
			if _, err := os.Stat(socket); err != nil {
				return err
			}
		}
	}
}

func register(resource, endpoint string) error {
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = api.NewRegistrationClient(connection).Register(deadline, &api.RegisterRequest{
		Version: api.Version, Endpoint: endpoint, ResourceName: resource,
	})
	return err
}

type gpus struct {
	api.UnimplementedDevicePluginServer
	count int
}

func (g *gpus) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (g *gpus) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	devices := make([]*api.Device, g.count)
	for i := range devices {
		devices[i] = &api.Device{ID: fmt.Sprintf("GPU-%d", i), Health: api.Healthy}
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (g *gpus) Allocate(_ context.Context, wanted *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, container := range wanted.ContainerRequests {
		names := strings.Join(container.DevicesIds, ",")
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": names},
		})
	}
	return answer, nil
}
