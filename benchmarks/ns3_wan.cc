// Workloads A and B in ns-3, without NAT: it has none. Prints ns per packet (A) or per delivered segment (B), delivered Mbit/s,
// and of the WAN queue the share of packets dropped and the mean number waiting.
//   ns3_wan --containers=8 --seconds=4 [--tcp=1 --control=TcpCubic]
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ns3/applications-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"
#include "ns3/traffic-control-module.h"

using namespace ns3;

namespace {

struct PoissonSource {
  Ptr<Socket> socket;
  Ptr<ExponentialRandomVariable> gap;
  double stop;
  uint64_t sent = 0;
  void Next() { Simulator::Schedule(Seconds(gap->GetValue()), &PoissonSource::Send, this); }
  void Send() {
    if (Simulator::Now().GetSeconds() >= stop) return;
    socket->Send(Create<Packet>(958));  // 1000 bytes with UDP, IP and Ethernet's 14
    sent++;
    Next();
  }
};

uint64_t taken = 0, dropped = 0, samples = 0;
double waiting = 0;

void Taken(Ptr<const Packet>) { taken++; }
void Dropped(Ptr<const Packet>) { dropped++; }
uint64_t delivered = 0;
double counted_from = 0;

void Delivered(Ptr<const Packet> p, const Address&) {
  if (Simulator::Now().GetSeconds() >= counted_from) delivered += p->GetSize();
}

void Forget() { taken = dropped = 0; }

void Sample(Ptr<Queue<Packet>> queue) {
  if (Simulator::Now().GetSeconds() >= counted_from) {
    waiting += queue->GetNPackets();
    samples++;
  }
  Simulator::Schedule(MilliSeconds(1), &Sample, queue);
}

NetDeviceContainer Wire(Ptr<Node> a, Ptr<Node> b, const char* rate, const char* delay, const char* queue, const std::string& net) {
  PointToPointHelper link;
  link.SetDeviceAttribute("DataRate", StringValue(rate));
  link.SetChannelAttribute("Delay", StringValue(delay));
  link.SetQueue("ns3::DropTailQueue", "MaxSize", StringValue(queue));
  NetDeviceContainer devices = link.Install(a, b);
  Ipv4AddressHelper address;
  address.SetBase(net.c_str(), "255.255.255.0");
  address.Assign(devices);
  TrafficControlHelper().Uninstall(devices);
  return devices;
}

}  // namespace

int main(int argc, char** argv) {
  int containers = 8;
  double seconds = 4;
  bool tcp = false;
  std::string control = "TcpCubic";
  double spread = 0;
  uint32_t run = 1;
  CommandLine command;
  command.AddValue("containers", "senders", containers);
  command.AddValue("seconds", "simulated", seconds);
  command.AddValue("tcp", "workload B", tcp);
  command.AddValue("control", "congestion control of B", control);
  command.AddValue("spread", "B's flows start at random within this many seconds; 0: a millisecond apart", spread);
  command.AddValue("run", "number of the run: of the random starts", run);
  command.AddValue("from", "seconds that are not counted", counted_from);
  command.Parse(argc, argv);
  RngSeedManager::SetRun(run);
  Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(1448));
  Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(4 << 20));
  Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(4 << 20));
  Config::SetDefault("ns3::TcpL4Protocol::SocketType", StringValue("ns3::" + control));
  NodeContainer senders, core;
  senders.Create(containers);
  core.Create(3);
  InternetStackHelper stack;
  stack.Install(senders);
  stack.Install(core);
  for (int i = 0; i < containers; i++)
    Wire(senders.Get(i), core.Get(0), "1Gbps", "5us", "1000p", "10." + std::to_string(1 + i / 250) + "." + std::to_string(i % 250) + ".0");
  Wire(core.Get(0), core.Get(1), "1Gbps", "50us", "1000p", "192.168.1.0");
  NetDeviceContainer wan = Wire(core.Get(1), core.Get(2), "200Mbps", "10ms", "100p", "93.184.216.0");
  Ptr<Queue<Packet>> queue = DynamicCast<PointToPointNetDevice>(wan.Get(0))->GetQueue();
  queue->TraceConnectWithoutContext("Enqueue", MakeCallback(&Taken));
  // a full device queue stops the layer above, which then drops
  core.Get(1)->GetObject<TrafficControlLayer>()->TraceConnectWithoutContext("TcDrop", MakeCallback(&Dropped));
  Sample(queue);
  Simulator::Schedule(Seconds(counted_from), &Forget);
  Ipv4GlobalRoutingHelper::PopulateRoutingTables();
  InetSocketAddress server("93.184.216.2", tcp ? 80 : 9);
  ApplicationContainer sink = PacketSinkHelper(tcp ? "ns3::TcpSocketFactory" : "ns3::UdpSocketFactory",
                                               InetSocketAddress(Ipv4Address::GetAny(), server.GetPort())).Install(core.Get(2));
  DynamicCast<PacketSink>(sink.Get(0))->TraceConnectWithoutContext("Rx", MakeCallback(&Delivered));
  Ptr<UniformRandomVariable> start = CreateObject<UniformRandomVariable>();
  std::vector<std::unique_ptr<PoissonSource>> sources;
  for (int i = 0; i < containers; i++) {
    if (tcp) {
      BulkSendHelper bulk("ns3::TcpSocketFactory", server);
      bulk.Install(senders.Get(i)).Start(Seconds(spread > 0 ? start->GetValue(0, spread) : 0.001 * i));
    } else {
      auto s = std::make_unique<PoissonSource>();
      s->socket = Socket::CreateSocket(senders.Get(i), UdpSocketFactory::GetTypeId());
      s->socket->Connect(server);
      s->gap = CreateObject<ExponentialRandomVariable>();
      s->gap->SetAttribute("Mean", DoubleValue(containers / 22500.0));
      s->stop = seconds;
      s->Next();
      sources.push_back(std::move(s));
    }
  }
  auto began = std::chrono::steady_clock::now();
  Simulator::Stop(Seconds(tcp ? seconds : seconds + 1));
  Simulator::Run();
  double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  double bytes = DynamicCast<PacketSink>(sink.Get(0))->GetTotalRx();
  double packets = bytes / 1448;
  if (!tcp) {
    packets = 0;
    for (auto& s : sources) packets += s->sent;
  }
  std::printf("%.1f %.3f %.6f %.3f\n", wall * 1e9 / packets, delivered * 8.0 / (seconds - counted_from) / 1e6, double(dropped) / (taken + dropped), waiting / samples);
  Simulator::Destroy();
}
